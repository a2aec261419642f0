"use strict";
// Nothing here is needed: it counts down, and takes a code out of pasted text.
(() => {
  const began = performance.now();
  const timers = [...document.querySelectorAll("[data-left]")];
  const tick = () => {
    const passed = Math.floor((performance.now() - began) / 1000);
    for (const timer of timers) {
      const left = Math.max(0, Number(timer.dataset.left) - passed);
      const two = (n) => String(n).padStart(2, "0");
      const hours = Math.floor(left / 3600), minutes = Math.floor(left / 60) % 60;
      timer.textContent = (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(left % 60);
      const wait = timer.closest("[data-until]");
      if (wait && left === 0) wait.hidden = true;
    }
  };
  if (timers.length) {
    tick();
    setInterval(tick, 1000);
  }
  const code = document.getElementById("code");
  if (code && code.inputMode === "numeric") {
    code.addEventListener("paste", (event) => {
      const found = event.clipboardData.getData("text").match(/(?<!\p{Nd})\p{Nd}{6,12}(?!\p{Nd})/gu);
      if (found && found.length === 1) {
        event.preventDefault();
        code.setRangeText(found[0], 0, code.value.length, "end");
      }
    });
  }
})();
