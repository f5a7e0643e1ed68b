// The explorer in a browser: a page of the book, or a cell of JupyterLab. It needs no
// kernel, server or network.
//
// explorer.py describes the explorer and makes `data`. The physics is computed here
// with the equations of paperlib/physics.

// The order of the power series in the coupling. Up to the first zero of u'(1) the
// truncation error is below 1e-40.
const EIGENVALUE_ORDER = 20;

const range = n => [...Array(n).keys()];
const sum = values => values.reduce((total, value) => total + value, 0);
const sums = (values, first = 0) => values.map(value => first += value);
const factorial = [1];
for (let n = 1; n <= 2 * EIGENVALUE_ORDER + 1; n++) {
  factorial.push(n * factorial[n - 1]);
}

// ---- potentials ----

const shapes = {
  "Gaussian": ({ width }) => r => Math.exp(-((r / width) ** 2)),
  "exponential": ({ width }) => r => Math.exp(-r / width),
  "Yukawa": ({ width }) => r => Math.exp(-r / width) * width / r,
  "Woods-Saxon": ({ radius, diffuseness }) =>
    r => 1 / (1 + Math.exp((r - radius) / diffuseness)),
  "Pöschl-Teller": ({ width }) => r => Math.cosh(r / width) ** -2,
};

// The Gauss-Legendre rule with eight points on [-1, 1], as pairs (point, weight).
const rule = [
  [0.18343464249564980, 0.36268378337836198],
  [0.52553240991632899, 0.31370664587788729],
  [0.79666647741362674, 0.22238103445337447],
  [0.96028985649753623, 0.10122853629037626],
].flatMap(([x, weight]) => [[-x, weight], [x, weight]]);

/** Return a shape at depth one, averaged over the volumes of d shells. */
function discretized(shape, parameters, d) {
  if (shape === "square well") return squareWell(parameters.radius, d);
  const v = shapes[shape](parameters);
  return range(d).map(i => {
    const left = i / d, right = (i + 1) / d, volume = (right ** 3 - left ** 3) / 3;
    return sum(rule.map(([x, weight]) => {
      const r = (left + right + x / d) / 2;
      return weight * v(r) * r * r;
    })) / (2 * d * volume);
  });
}

/** Return the exact averages of a square well. A quadrature would miss its edge. */
function squareWell(radius, d) {
  const inside = r => Math.min(r, radius) ** 3;
  return range(d).map(i => {
    const left = i / d, right = (i + 1) / d;
    return (inside(right) - inside(left)) / (right ** 3 - left ** 3);
  });
}

// ---- scattering ----

/** Return Stumpff's function c_k(x) = sum_m (-x)^m / (2m + k)! for |x| < 1. */
function stumpff(k, x) {
  let total = 0;
  for (let m = 8; m >= 0; m--) total = total * -x + 1 / factorial[2 * m + k];
  return total;
}

/**
 * Return a_0 and the wave function at the shell edges.
 *
 * The loop propagates w = r u' - u and q = u'/d from shell to shell.
 */
export function scattering(U) {
  const d = U.length, wave = [0];
  let [w, q] = [0, 1];
  U.forEach((height, i) => {
    const x = height / (d * d), u = i * q - w;
    const c2 = stumpff(2, x), c3 = stumpff(3, x);
    const loss = x * ((1 - x * c3) * u + c2 * q);
    w += x * (c2 * u + c3 * q) - (i + 1) * loss;
    q -= loss;
    wave.push((i + 1) * q - w);
  });
  return { a0: w / (q * d), wave: wave.map(u => u / (q * d)) };
}

/** Return the power series in the coupling of w/d and q after the last shell. */
function couplingSeries(U, order) {
  const d = U.length, w = new Float64Array(order + 1), q = new Float64Array(order + 1);
  q[0] = 1;
  U.forEach((height, i) => {
    const x = height / (d * d), before = q.slice();
    const u = before.map((value, n) => i * value - w[n]);
    for (let m = 1, power = x; m <= order; m++, power *= -x) {
      const f1 = factorial[2 * m - 1], f2 = factorial[2 * m], f3 = factorial[2 * m + 1];
      for (let n = m; n <= order; n++) {
        const loss = power * (u[n - m] / f1 + before[n - m] / f2);
        w[n] += power * (u[n - m] / f2 + before[n - m] / f3) - (i + 1) * loss;
        q[n] -= loss;
      }
    }
  });
  return [w.map(value => value / d), q];
}

/**
 * Return the Born terms of orders 1 to `order` and the largest Weinberg eigenvalue.
 *
 * The potential must be attractive.
 */
export function born(U, order) {
  const [w, q] = couplingSeries(U, EIGENVALUE_ORDER), a = [0];
  for (let n = 1; n <= order; n++) {
    a.push(w[n] - sum(range(n).map(k => k && q[k] * a[n - k])));
  }
  return { terms: a.slice(1), eigenvalue: 1 / smallestZero(q) };
}

/**
 * Return the smallest zero of u'(1), given its power series in the coupling.
 *
 * u'(1) vanishes at the couplings at which a state binds, and all of them are positive.
 * Newton's method started at 0 increases monotonically to the smallest of them.
 */
function smallestZero(series) {
  let coupling = 0;
  for (;;) {
    let value = 0, slope = 0;
    for (let n = series.length - 1; n >= 0; n--) {
      slope = slope * coupling + value;
      value = value * coupling + series[n];
    }
    const next = coupling - value / slope;
    if (!(next > coupling)) return coupling;
    coupling = next;
  }
}

/** Return the networks' terms of orders 0, 1, .. at the nearest step of the sliders. */
function learnedTerms({ parameters, networks }, values) {
  let row = 0;
  // The last parameter varies fastest.
  for (const [name, [least, , most, step]] of Object.entries(parameters)) {
    const steps = Math.round((most - least) / step) + 1;
    row = row * steps + Math.round((values[name] - least) / step);
  }
  return networks[row];
}

/**
 * Return the data of the picture, named as in paperlib.explorer.View.
 *
 * The wave function is given at the shell edges.
 */
export function view(data, shape, values) {
  const { depth } = values, [least, , most] = data.shapes[shape].depth;
  const v = discretized(shape, values, data.shells);
  const { terms, eigenvalue } = born(v, data.order);
  const [constant, ...learned] = learnedTerms(data.shapes[shape], values);
  const at = (terms, depth) => terms.map((term, n) => term * depth ** (n + 1));
  const depths = range(data.depths)
    .map(k => least + k * (most - least) / (data.depths - 1));
  const potential = v.map(height => depth * height);
  return {
    potential, ...scattering(potential), depth, depths,
    exact: depths.map(depth => scattering(v.map(height => depth * height)).a0),
    born: depths.map(depth => sums(at(terms, depth))),
    networks: depths.map(depth => sums(at(learned, depth), constant)),
    terms: at(terms, depth), learned: at(learned, depth),
    eigenvalue: depth * eigenvalue,
  };
}

// ---- the picture ----

// The colours of the orders are visible on light and on dark pages.
const COLOURS = ["#e09f00", "#35a779", "#2a8fbd", "#a070e0"];
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [340, 250, 54, 8, 10, 36];
const signed = text => String(text).replace("-", "−");

/**
 * Return a panel as SVG: the axes, and the content that `draw` returns.
 *
 * `draw` receives the two scales, which map x and y to pixels.
 */
function panel(name, { x, y, xticks, yticks, xlabel, ylabel, label = signed }, draw) {
  const right = WIDTH - RIGHT, bottom = HEIGHT - BOTTOM;
  const across = value => LEFT + (value - x[0]) / (x[1] - x[0]) * (right - LEFT);
  const up = value => bottom - (value - y[0]) / (y[1] - y[0]) * (bottom - TOP);
  const xtick = t => `<path d="M${across(t)} ${bottom}v4"/>
    <text x="${across(t)}" y="${bottom + 16}" text-anchor="middle">${signed(t)}</text>`;
  const ytick = t => `<path d="M${LEFT} ${up(t)}h-4"/>
    <text x="${LEFT - 7}" y="${up(t) + 4}" text-anchor="end">${label(t)}</text>`;
  const box = `${LEFT} ${TOP} ${right - LEFT} ${bottom - TOP}`;
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${name}">
    <g class="axes"><path d="M${LEFT} ${TOP}V${bottom}H${right}"/>
    ${xticks.map(xtick).join("")}${yticks.map(ytick).join("")}
    <text x="${(LEFT + right) / 2}" y="${HEIGHT - 4}"
     text-anchor="middle">${xlabel}</text>
    <text transform="translate(11 ${(TOP + bottom) / 2}) rotate(-90)"
     text-anchor="middle">${ylabel}</text></g>
    <svg x="${LEFT}" y="${TOP}" width="${right - LEFT}" height="${bottom - TOP}"
     viewBox="${box}">${draw(across, up)}</svg></svg>`;
}

/** Return an SVG path through points, with a gap at every step larger than `jump`. */
function line(points, across, up, jump = Infinity) {
  return points.map(([x, y], k) => {
    const joined = k && Math.abs(y - points[k - 1][1]) < jump;
    return `${joined ? "L" : "M"}${across(x).toFixed(2)} ${up(y).toFixed(2)}`;
  }).join("");
}

/** Draw the potential, its wave function, and a dot at the scattering length. */
function potentialPanel({ potential, wave, a0 }) {
  const d = potential.length, height = Math.max(...potential.map(Math.abs)) || 1;
  // The curve rises from the origin and is as high as the potential.
  const largest = Math.max(...wave.map(Math.abs), Math.abs(2 - a0));
  const scale = Math.sign(wave[1]) * height / largest;
  const curve = [...wave.map((u, i) => [i / d, u * scale]), [2, (2 - a0) * scale]];
  const stairs = potential.flatMap((U, i) => [[i / d, U], [(i + 1) / d, U]]);
  const nice = Number((height / 2).toPrecision(1));
  const ticks = [-2, -1, 0, 1, 2].map(k => k * nice);
  return panel("Potential and zero-energy wave function", {
    x: [-1, 2], y: [-1.1 * height, 1.1 * height],
    xticks: [-1, 0, 1, 2], yticks: ticks.filter(U => Math.abs(U) < 1.1 * height),
    xlabel: "r / range", ylabel: "U(r)",
  }, (across, up) => `
    <path class="potential" d="${line([[0, 0], ...stairs, [1, 0]], across, up)}Z"/>
    <path class="thin" d="M${across(-1)} ${up(0)}H${across(2)}
     M${across(1)} ${up(-2 * height)}V${up(2 * height)}"/>
    <path class="wave" d="${line(curve, across, up)}"/>
    <circle class="length" cx="${across(a0)}" cy="${up(0)}" r="4"/>`);
}

/** Draw the scattering length against the depth, exactly and by orders. */
function lengthPanel({ depth, depths, eigenvalue, exact, born, networks }) {
  const deepest = depths.at(-1), radius = Math.abs(depth / eigenvalue);
  return panel("Scattering length against the depth", {
    x: [-deepest, deepest], y: [-4, 4],
    xticks: [-1, -0.5, 0, 0.5, 1].map(k => k * deepest), yticks: [-4, -2, 0, 2, 4],
    xlabel: "depth", ylabel: "a₀ / range",
  }, (across, up) => {
    const vertical = (x, kind) => Number.isFinite(x)
      ? `<path class="${kind}" d="M${across(x)} 0V${HEIGHT}"/>` : "";
    // Points far outside the panel are left out.
    const near = ([, y]) => Math.abs(y) < 5;
    const orders = COLOURS.map((colour, n) => {
      const sums = depths.map((x, k) => [x, born[k][n]]).filter(near);
      const path = `<path style="stroke: ${colour}" d="${line(sums, across, up)}"/>`;
      const dots = depths.map((x, k) => [x, networks[k][n]])
        .filter((point, k) => k % 10 === 5 && near(point))
        .map(([x, y]) => circle(across(x), up(y), 2.4, `fill: ${colour}`));
      return path + dots.join("");
    });
    const curve = line(depths.map((x, k) => [x, exact[k]]), across, up, 8);
    return vertical(-radius, "radius") + vertical(radius, "radius")
      + `<path class="exact" d="${curve}"/>` + orders.join("")
      + vertical(depth, "here");
  });
}

/** Draw the magnitudes of the terms of each order on a logarithmic axis. */
function termPanel({ terms, learned }) {
  const log = value => Math.log10(Math.abs(value) || 1e-99);
  return panel("Magnitude of the term of each order", {
    x: [0.5, terms.length + 0.5], y: [-6, 3],
    xticks: range(terms.length).map(n => n + 1), yticks: [-6, -3, 0, 3],
    xlabel: "order", ylabel: "|term| / range",
    label: t => `10<tspan dy="-5" font-size="8">${signed(t)}</tspan>`,
  }, (across, up) => COLOURS.map((colour, n) =>
    circle(across(n + 1), up(log(terms[n])), 6, `stroke: ${colour}`)
    + circle(across(n + 1), up(log(learned[n])), 2.4, `fill: ${colour}`)).join(""));
}

function circle(x, y, radius, style) {
  const [cx, cy] = [x.toFixed(2), y.toFixed(2)];
  return `<circle style="${style}" cx="${cx}" cy="${cy}" r="${radius}"/>`;
}

/** Return the summary as text and the table of the orders as HTML. */
function report({ summary, verdicts, columns }, { a0, eigenvalue, terms, learned }) {
  const rounded = value => signed((Math.round(value * 1e5) / 1e5 + 0).toFixed(5));
  const verdict = verdicts[Number(Math.abs(eigenvalue) < 1)];
  const fields = { a0: rounded(a0), eigenvalue: rounded(eigenvalue), verdict };
  const text = summary.replace("a_0", "a₀")
    .replace(/\{(\w+).*?\}/g, (_, name) => fields[name]);
  const numbers = [terms, learned, sums(terms), sums(learned)];
  const rows = terms.map((_, n) => {
    const cells = numbers.map(column => `<td>${rounded(column[n])}</td>`).join("");
    return `<tr><th scope="row">${n + 1}</th>${cells}</tr>`;
  });
  const head = columns.map(name => `<th>${name}</th>`).join("");
  return [text, `<table><tr>${head}</tr>${rows.join("")}</table>`];
}

// ---- the controls ----

const STYLE = `
  .explorer { font: 14px/1.4 system-ui, sans-serif; color: inherit; max-width: 68rem }
  .explorer .controls { display: flex; flex-wrap: wrap; gap: .4rem 1.5rem;
    align-items: center }
  .explorer label { display: flex; gap: .5rem; align-items: center; min-height: 2.2rem }
  .explorer select { font: inherit }
  .explorer input { width: 9rem; accent-color: #0072b2 }
  .explorer output { min-width: 3.2em; font-variant-numeric: tabular-nums }
  .explorer .picture { display: grid; gap: .5rem;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)) }
  .explorer svg { width: 100%; fill: none; stroke-width: 1.6 }
  .explorer svg svg { overflow: hidden; width: auto }
  .explorer .axes path { stroke: currentColor; stroke-width: 1; opacity: .6 }
  .explorer text { fill: currentColor; font-size: 12px }
  .explorer .thin { stroke: currentColor; stroke-width: .7; opacity: .5 }
  .explorer .potential { fill: #56b4e9; fill-opacity: .6 }
  .explorer .wave { stroke: #2a8fbd } .explorer .length { fill: currentColor }
  .explorer .exact { stroke: currentColor; stroke-width: 2.4 }
  .explorer .here { stroke: #d55e00 }
  .explorer .radius { stroke: currentColor; stroke-dasharray: 2 3; opacity: .7 }
  .explorer .key { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: 12px }
  .explorer p { margin: .5rem 0 } .explorer .numbers { overflow-x: auto }
  .explorer table { border-collapse: collapse; font-variant-numeric: tabular-nums;
    font-size: 13px }
  .explorer th, .explorer td { text-align: right; padding: .1rem 0 .1rem .6rem;
    font-weight: normal; border: 0 }`;
const KEY = [
  "● and thick line: exact a₀",
  ...COLOURS.map((colour, n) =>
    `<span style="color: ${colour}">― Born ${n + 1}</span>`),
  "small dots: networks",
  "⋮ radius of convergence",
  '<span style="color: #d55e00">| depth</span>',
];
// Without this attribute JupyterLab intercepts the arrow keys.
const KEYS = "data-lm-suppress-shortcuts";

/** Put the explorer into an element, initially with the given shape and values. */
export function mount(element, data, shape, values) {
  const ranges = {}, chosen = {}; // of the sliders of each shape, and their values
  for (const [name, { depth, parameters }] of Object.entries(data.shapes)) {
    ranges[name] = Object.entries({ depth, ...parameters });
    // The values of each shape are stored, so that they return with the shape.
    chosen[name] = Object.fromEntries(
      ranges[name].map(([parameter, [, initial]]) => [parameter, initial]));
  }
  Object.assign(chosen[shape], values);
  element.innerHTML = `<style>${STYLE}</style><div class="explorer">
    <div class="controls"><label>shape <select ${KEYS}>${
      Object.keys(ranges).map(name => `<option>${name}</option>`).join("")
    }</select></label><span class="controls sliders"></span></div>
    <div class="key">${KEY.map(entry => `<span>${entry}</span>`).join("")}</div>
    <div class="picture"></div>
    <div class="numbers"><p role="status"></p><div></div></div></div>`;
  const [select, sliders, picture, summary, table] =
    ["select", ".sliders", ".picture", "p", ".numbers div"]
      .map(name => element.querySelector(name));

  function draw() {
    const seen = view(data, shape, chosen[shape]);
    picture.innerHTML = potentialPanel(seen) + lengthPanel(seen) + termPanel(seen);
    [summary.textContent, table.innerHTML] = report(data, seen);
  }
  function slider([name, [least, , most, step]]) {
    const label = document.createElement("label");
    label.innerHTML = `${name} <input ${KEYS} type="range" min="${least}" max="${most}"
      step="${step}" value="${chosen[shape][name]}"> <output></output>`;
    const [input, output] = label.children;
    const read = () => {
      chosen[shape][name] = Number(input.value); // the browser rounds to a step
      output.value = signed(input.value);
    };
    read();
    input.addEventListener("input", () => { read(); draw(); });
    return label;
  }
  function choose() {
    shape = select.value;
    sliders.replaceChildren(...ranges[shape].map(slider));
    draw();
  }
  select.value = shape;
  select.addEventListener("change", choose);
  choose();
}

export default {
  render: ({ model, el }) =>
    mount(el, model.get("data"), model.get("shape"), model.get("values")),
};
