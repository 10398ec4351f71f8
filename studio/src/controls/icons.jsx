// Line icons on a 20-unit grid, drawn for this page.
const icon = (children, { filled = false } = {}) =>
  function Icon({ size = 18 }) {
    return (
      <svg
        width={size}
        height={size}
        viewBox="0 0 20 20"
        fill={filled ? "currentColor" : "none"}
        stroke={filled ? "none" : "currentColor"}
        stroke-width="1.6"
        stroke-linecap="round"
        stroke-linejoin="round"
        aria-hidden="true"
      >
        {children}
      </svg>
    );
  };

export const Plus = icon(<path d="M10 4v12M4 10h12" />);
export const Trash = icon(<path d="M4 6h12M8 6V4.500h4V6M6 6l.6 10h6.800L14 6M8.700 9v4.500M11.300 9v4.500" />);
export const Up = icon(<path d="M5.500 12 10 7.500 14.500 12" />);
export const Down = icon(<path d="M5.500 8 10 12.500 14.500 8" />);
export const Right = icon(<path d="M8 5.500 12.500 10 8 14.500" />);
export const Undo = icon(<path d="M4 8h8a4 4 0 0 1 0 8H8M4 8l3.500-3.500M4 8l3.500 3.500" />);
export const Redo = icon(<path d="M16 8H8a4 4 0 0 0 0 8h4M16 8l-3.500-3.500M16 8l-3.500 3.500" />);
export const Turn = icon(<path d="M4 7h11M12 4l3 3-3 3M16 13H5M8 10l-3 3 3 3" />);
export const Send = icon(<path d="M10 16V4M5 9l5-5 5 5" />);
export const Stop = icon(<rect x="5.500" y="5.500" width="9" height="9" rx="1.500" />, { filled: true });
export const Play = icon(<path d="M6.500 4.800v10.400a.6.6 0 0 0 .9.500l8.600-5.200a.6.6 0 0 0 0-1L7.400 4.300a.6.6 0 0 0-.9.500Z" />, { filled: true });
export const Pause = icon(<path d="M7.500 5v10M12.500 5v10" />);
export const Cross = icon(<path d="M5.500 5.500l9 9M14.500 5.500l-9 9" />);
export const Again = icon(<path d="M15.500 10a5.500 5.500 0 1 1-1.600-3.900M15.500 3.500v3.200h-3.200" />);
export const Pencil = icon(<path d="M4 16l.8-3.200L13 4.600a1.400 1.400 0 0 1 2 0l.4.400a1.400 1.400 0 0 1 0 2L7.200 15.200Z" />);
export const Copy = icon(<path d="M7.500 7.500h8v8h-8zM12.500 7.500v-3h-8v8h3" />);
export const Tick = icon(<path d="M4.500 10.500 8.200 14 15.500 6" />);
export const Warning = icon(<path d="M10 3.500 17.500 16h-15ZM10 8.300v3.400M10 13.800v.1" />);
export const Sliders = icon(
  <>
    <path d="M3.500 6.500h6M13.500 6.500h3M3.500 13.500h3M10.500 13.500h6" />
    <circle cx="11.500" cy="6.500" r="2" />
    <circle cx="8.500" cy="13.500" r="2" />
  </>,
);
export const Sun = icon(
  <>
    <circle cx="10" cy="10" r="3.200" />
    <path d="M10 2.500v1.800M10 15.700v1.800M2.500 10h1.800M15.700 10h1.800M4.700 4.700 6 6M14 14l1.300 1.300M15.300 4.700 14 6M6 14l-1.300 1.300" />
  </>,
);
export const Moon = icon(<path d="M16.500 11.800A6.800 6.800 0 0 1 8.200 3.500a6.800 6.800 0 1 0 8.300 8.300Z" />);
export const Screen = icon(<path d="M3 4.500h14v9H3zM7.500 16.500h5" />);
export const Panel = icon(<path d="M3 4h14v12H3zM12.500 4v12" />);
export const Keyboard = icon(<path d="M2.500 5.500h15v9h-15zM5.500 8.500h.1M8.500 8.500h.1M11.500 8.500h.1M14.500 8.500h.1M6.500 11.500h7" />);
export const Grip = icon(
  <>
    {[5.500, 10, 14.500].map((y) => (
      <>
        <circle cx="7.500" cy={y} r="1.200" />
        <circle cx="12.500" cy={y} r="1.200" />
      </>
    ))}
  </>,
  { filled: true },
);

/** A parr: a young salmon with the dark marks along its side that gave it its name. */
export function Fish({ size = 26 }) {
  return (
    <svg class="fish" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <path class="fish-body" d="M2 16C6.500 7.500 17.500 7 23.500 14.500L30 9.500c-1.300 4.300-1.300 8.700 0 13L23.500 17.500C17.500 25 6.500 24.500 2 16Z" />
      <g class="fish-marks">
        <ellipse cx="10.500" cy="16" rx="1.200" ry="4" />
        <ellipse cx="14.700" cy="16" rx="1.200" ry="4.400" />
        <ellipse cx="18.900" cy="16" rx="1.100" ry="3.400" />
      </g>
      <circle class="fish-marks" cx="6.400" cy="14.800" r="0.900" />
    </svg>
  );
}
