// Curves of a run: small charts of equal width over the same steps.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useRef, useState } from "preact/hooks";
import { shownTheme } from "../state/theme.js";

const CURVES = [
  { field: "reward", label: "Reward", title: "Mean score of the replies. Should rise." },
  { field: "kl", label: "KL", title: "Distance from the base, in nats per reply. Should stay small." },
  { field: "length", label: "Length", title: "Tokens per reply." },
  { field: "entropy", label: "Entropy", title: "How open the choice of tokens is, in nats. A fall to zero means that the replies have become all the same." },
  { field: "loss", label: "Loss", title: "Loss of training. Should fall." },
];

const HEIGHT = 92;

export function Curves({ steps }) {
  const shown = CURVES.filter(({ field }) => steps.some((step) => Number.isFinite(step[field])));
  if (shown.length === 0) return <p class="hint">The curves begin with the first step.</p>;
  return (
    <div class="curves">
      {shown.map((curve) => (
        <Curve key={curve.field} curve={curve} steps={steps} />
      ))}
    </div>
  );
}

export const formatMetric = (value) => {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits).replace("-", "\u2212");
};

function Curve({ curve: { field, label, title }, steps }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [pointed, setPointed] = useState(null);
  const theme = shownTheme.value;
  const points = steps.filter((step) => Number.isFinite(step[field]));
  const last = points.at(-1)?.[field];
  const data = [points.map((step) => step.step), points.map((step) => step[field])];

  // Colours are read when the chart is made, so another theme makes another chart.
  useEffect(() => {
    plot.current = new uPlot(options(box.current, field === "reward", setPointed), data, box.current);
    const observer = new ResizeObserver(([entry]) => plot.current?.setSize({ width: entry.contentRect.width, height: HEIGHT }));
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, [theme]);

  useEffect(() => plot.current?.setData(data), [points.length, last]);

  const summary = `${label}: ${formatMetric(points[0][field])} at step ${points[0].step}, ${formatMetric(last)} at step ${points.at(-1).step}`;
  return (
    <figure class="curve" title={title}>
      <figcaption>
        <span>{label}</span>
        <span class="number">{formatMetric(pointed ?? last)}</span>
      </figcaption>
      <div ref={box} class="curve-plot" role="img" aria-label={summary} />
    </figure>
  );
}

/** `point` is told the value under the pointer, or null. */
function options(box, isMain, point) {
  const style = getComputedStyle(box);
  const colour = (name) => style.getPropertyValue(name).trim();
  const line = isMain ? colour("--accent") : colour("--ink-2");
  const axis = {
    stroke: colour("--ink-3"),
    font: `10.5px ${style.fontFamily}`,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: box.clientWidth,
    height: HEIGHT,
    padding: [6, 6, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 }, sync: { key: "curves" } },
    scales: { x: { time: false, range: (_, low, high) => [low, Math.max(high, low + 1)] } },
    axes: [
      { ...axis, size: 18, gap: 3, space: 24, grid: { show: false }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] },
      { ...axis, size: 32, gap: 4, space: 18 },
    ],
    series: [
      {},
      { stroke: line, width: 1.75, fill: isMain ? colour("--accent-wash") : undefined, fillTo: (plot) => plot.scales.y.min, points: { show: (plot) => plot.data[0].length < 3, size: 5, fill: line } },
    ],
    hooks: { setCursor: [(plot) => point(plot.cursor.left >= 0 ? (plot.data[1][plot.cursor.idx] ?? null) : null)] },
  };
}
