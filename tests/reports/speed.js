// The body of a function that a test runs in a page.
return (async () => {
  const canvas = document.querySelector("#gantt");
  const { left, top } = canvas.getBoundingClientRect();
  const frames = [];
  for (let k = 0; k < 90; k += 1) {
    const wheel = { deltaY: k < 45 ? -60 : 60, clientX: left + 500, clientY: top + 60 };
    canvas.dispatchEvent(new WheelEvent("wheel", { ...wheel, ctrlKey: true, cancelable: true }));
    frames.push(await new Promise(requestAnimationFrame));
  }
  const lengths = frames.slice(1).map((time, k) => time - frames[k]);
  const all = lengths.reduce((sum, length) => sum + length, 0);
  const { domInteractive } = performance.getEntriesByType("navigation")[0];
  return { rate: (1000 * lengths.length) / all, longest: Math.max(...lengths), ready: domInteractive };
})();
