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
  let sent, find = () => {};
  addEventListener("pageshow", () => { sent = new Map(); }); // also after going back to the page
  addEventListener("submit", (event) => {
    // An answer may take as long as the mail server, which has 30 s.
    // What was corrected meanwhile is sent.
    find();
    const fields = new URLSearchParams(new FormData(event.target)).toString(), last = sent.get(event.target);
    if (last && last.fields === fields && performance.now() - last.at < 30000) event.preventDefault();
    else sent.set(event.target, { fields, at: performance.now() });
  });
  const code = document.getElementById("code");
  if (code) {
    const digits = /(?<!\p{Nd})\p{Nd}{6,12}(?!\p{Nd})/gu;
    const letters = /\b(?=\w*\d)[0-9B-DF-HJ-NP-TV-Z]{10,32}\b/gi;
    const codeIn = (text) => {
      const found = new Set(text.match(code.inputMode === "numeric" ? digits : letters)); // a mail may have it twice
      return found.size === 1 ? [...found][0] : "";
    };
    code.addEventListener("paste", (event) => {
      const found = codeIn(event.clipboardData.getData("text"));
      if (found) {
        event.preventDefault();
        code.setRangeText(found, 0, code.value.length, "end");
      }
    });
    find = () => { code.value = codeIn(code.value) || code.value; }; // a keyboard's clipboard pastes without that event
  }
})();
