"use strict";
// The page works without this script. It counts down, finds the code in pasted text,
// and makes a double click send once.
(() => {
  const began = Date.now(); // other clocks stop while the device sleeps
  const timers = [...document.querySelectorAll("[data-left]")];
  const two = (n) => String(n).padStart(2, "0");
  const tick = () => {
    const passed = Math.max(0, Math.floor((Date.now() - began) / 1000));
    for (const timer of timers) {
      const left = Math.max(0, Number(timer.dataset.left) - passed);
      const hours = Math.floor(left / 3600), minutes = Math.floor(left / 60) % 60;
      timer.textContent = (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(left % 60);
      const wait = timer.closest("[data-until]");
      if (wait) wait.hidden = left === 0;
    }
  };
  if (timers.length) {
    setInterval(tick, 1000);
    addEventListener("visibilitychange", tick); // a tab that was asleep
  }
  let sent;
  addEventListener("pageshow", () => { sent = new Map(); }); // also after going back to the page
  addEventListener("submit", (event) => {
    // An answer may take as long as the mail server, which has 30 s.
    if (performance.now() - sent.get(event.target) < 30000) event.preventDefault();
    else sent.set(event.target, performance.now());
  });
  const code = document.getElementById("code");
  if (code) {
    const digits = /(?<!\p{Nd})\p{Nd}{6,12}(?!\p{Nd})/gu;
    const letters = /\b(?=\w*\d)[0-9B-DF-HJ-NP-TV-Z]{10,32}\b/gi;
    code.addEventListener("paste", (event) => {
      const found = event.clipboardData.getData("text").match(code.inputMode === "numeric" ? digits : letters);
      if (found && found.length === 1) {
        event.preventDefault();
        code.setRangeText(found[0], 0, code.value.length, "end");
      }
    });
  }
})();
