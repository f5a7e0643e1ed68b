// The explorer in a browser. It runs in a page of the book and in a cell of JupyterLab, and needs no kernel, server or
// network.
//
// The potential is U = depth * v(r) with a shape v(r), so terms of order n grow as the n-th power of the depth. The
// physics is computed here with the equations of paperlib/physics. `data` has the terms that the networks learned, for
// every step of the sliders.

const EIGENVALUE_ORDER = 20; // of a series in the coupling; truncation error below 1e-40 up to the first zero of u'(1)

const range = n => [...Array(n).keys()];
const sum = values => values.reduce((total, value) => total + value, 0);
const sums = (values, first = 0) => values.map(value => first += value);
const factorial = [1];
for (let n = 1; n <= 2 * EIGENVALUE_ORDER + 1; n++) factorial.push(n * factorial[n - 1]);

// ---- potentials ----

const shapes = {
  "Gaussian": ({ width }) => r => Math.exp(-((r / width) ** 2)),
  "exponential": ({ width }) => r => Math.exp(-r / width),
  "Yukawa": ({ width }) => r => Math.exp(-r / width) * width / r,
  "Woods-Saxon": ({ radius, diffuseness }) => r => 1 / (1 + Math.exp((r - radius) / diffuseness)),
  "Pöschl-Teller": ({ width }) => r => Math.cosh(r / width) ** -2,
};

// The Gauss-Legendre rule with eight points on [-1, 1] as pairs (point, weight).
const rule = [
  [0.18343464249564980, 0.36268378337836198], [0.52553240991632899, 0.31370664587788729],
  [0.79666647741362674, 0.22238103445337447], [0.96028985649753623, 0.10122853629037626],
].flatMap(([x, weight]) => [[-x, weight], [x, weight]]);

/** Return a shape at depth one, averaged over the volumes of d shells. */
function discretized(shape, parameters, d) {
  const well = shape === "square well", v = well || shapes[shape](parameters);
  return range(d).map(i => {
    const left = i / d, right = (i + 1) / d, volume = (right ** 3 - left ** 3) / 3;
    // The average of a square well is exact. A quadrature would miss the discontinuity at its edge.
    if (well) return (Math.min(right, parameters.radius) ** 3 - Math.min(left, parameters.radius) ** 3) / (3 * volume);
    return sum(rule.map(([x, weight]) => {
      const r = (left + right + x / d) / 2;
      return weight * v(r) * r * r;
    })) / (2 * d * volume);
  });
}

// ---- scattering ----

/** Return Stumpff's function c_k(x) = sum_m (-x)^m / (2m + k)! for |x| < 1. */
function stumpff(k, x) {
  let total = 0;
  for (let m = 8; m >= 0; m--) total = total * -x + 1 / factorial[2 * m + k];
  return total;
}

/** Return a_0 and the wave function at the shell edges: w = r u' - u and q = u'/d are carried from shell to shell. */
export function scattering(U) {
  const d = U.length, wave = [0];
  let [w, q] = [0, 1];
  U.forEach((height, i) => {
    const x = height / (d * d), c2 = stumpff(2, x), c3 = stumpff(3, x), u = i * q - w;
    const loss = x * ((1 - x * c3) * u + c2 * q);
    w += x * (c2 * u + c3 * q) - (i + 1) * loss;
    q -= loss;
    wave.push((i + 1) * q - w);
  });
  return { a0: w / (q * d), wave: wave.map(u => u / (q * d)) };
}

/** Return w/d and q after the last shell as power series in the coupling, from the series of each shell. */
function couplingSeries(U, order) {
  const d = U.length, w = new Float64Array(order + 1), q = new Float64Array(order + 1);
  q[0] = 1;
  U.forEach((height, i) => {
    const x = height / (d * d), before = q.slice(), u = before.map((value, n) => i * value - w[n]);
    for (let m = 1, power = x; m <= order; m++, power *= -x) {
      for (let n = m; n <= order; n++) {
        const loss = power * (u[n - m] / factorial[2 * m - 1] + before[n - m] / factorial[2 * m]);
        w[n] += power * (u[n - m] / factorial[2 * m] + before[n - m] / factorial[2 * m + 1]) - (i + 1) * loss;
        q[n] -= loss;
      }
    }
  });
  return [w.map(value => value / d), q];
}

/** Return the Born terms of orders 1 to `order` and the largest Weinberg eigenvalue of an attractive potential. */
export function born(U, order) {
  const [w, q] = couplingSeries(U, EIGENVALUE_ORDER), a = [0];
  for (let n = 1; n <= order; n++) a.push(w[n] - sum(range(n).map(k => k && q[k] * a[n - k])));
  // u'(1) vanishes at the couplings at which a state binds, all of them positive. Newton's method started at 0
  // increases monotonically to the smallest of these couplings.
  let coupling = 0;
  for (;;) {
    let [value, slope] = [0, 0];
    for (let n = EIGENVALUE_ORDER; n >= 0; n--) [value, slope] = [value * coupling + q[n], slope * coupling + value];
    const next = coupling - value / slope;
    if (!(next > coupling)) break;
    coupling = next;
  }
  return { terms: a.slice(1), eigenvalue: 1 / coupling };
}

/** Return the networks' terms of orders 0, 1, .. at the nearest slider step. The last parameter varies fastest. */
function learnedTerms({ parameters, networks }, values) {
  const row = Object.entries(parameters).reduce((row, [name, [least, , most, step]]) =>
    row * (Math.round((most - least) / step) + 1) + Math.round((values[name] - least) / step), 0);
  return networks[row];
}

/** Return the data of the picture, named as in paperlib.explorer.View. The wave function is given at shell edges. */
export function view(data, shape, values) {
  const of = data.shapes[shape], { depth } = values;
  const v = discretized(shape, values, data.shells), { terms, eigenvalue } = born(v, data.order);
  const [constant, ...learned] = learnedTerms(of, values);
  const at = (terms, depth) => terms.map((term, n) => term * depth ** (n + 1));
  const [, , deepest] = of.depth, depths = range(241).map(k => -deepest + k * deepest / 120);
  const potential = v.map(height => depth * height);
  return {
    potential, ...scattering(potential), depth, depths,
    exact: depths.map(depth => scattering(v.map(height => depth * height)).a0),
    born: depths.map(depth => sums(at(terms, depth))),
    networks: depths.map(depth => sums(at(learned, depth), constant)),
    terms: at(terms, depth), learned: at(learned, depth), eigenvalue: depth * eigenvalue,
  };
}

// ---- the picture ----

const COLOURS = ["#e09f00", "#35a779", "#2a8fbd", "#a070e0"]; // of the orders, visible on light and dark pages
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [340, 250, 54, 8, 10, 36];
const signed = text => String(text).replace("-", "−");

/** Return a panel as SVG: the axes, and the content that `draw` returns for the two scales. */
function panel(name, { x, y, xticks, yticks, xlabel, ylabel, label = signed }, draw) {
  const across = value => LEFT + (value - x[0]) / (x[1] - x[0]) * (WIDTH - LEFT - RIGHT);
  const up = value => HEIGHT - BOTTOM - (value - y[0]) / (y[1] - y[0]) * (HEIGHT - TOP - BOTTOM);
  const ticks = [
    ...xticks.map(t => `<path d="M${across(t)} ${HEIGHT - BOTTOM}v4"/><text x="${across(t)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${signed(t)}</text>`),
    ...yticks.map(t => `<path d="M${LEFT} ${up(t)}h-4"/><text x="${LEFT - 7}" y="${up(t) + 4}" text-anchor="end">${label(t)}</text>`),
  ].join("");
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${name}">
    <g class="axes"><path d="M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}"/>${ticks}
    <text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 4}" text-anchor="middle">${xlabel}</text>
    <text transform="translate(11 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${ylabel}</text></g>
    <svg x="${LEFT}" y="${TOP}" width="${WIDTH - LEFT - RIGHT}" height="${HEIGHT - TOP - BOTTOM}"
     viewBox="${LEFT} ${TOP} ${WIDTH - LEFT - RIGHT} ${HEIGHT - TOP - BOTTOM}">${draw(across, up)}</svg></svg>`;
}

/** Return an SVG path through points, with a gap at every step larger than `jump`. */
function line(points, across, up, jump = Infinity) {
  const step = ([x, y], k) => `${k && Math.abs(y - points[k - 1][1]) < jump ? "L" : "M"}${across(x).toFixed(2)} ${up(y).toFixed(2)}`;
  return points.map(step).join("");
}

function picture(seen) {
  const d = seen.potential.length, height = Math.max(...seen.potential.map(Math.abs)) || 1;
  const largest = Math.max(...seen.wave.map(Math.abs), Math.abs(2 - seen.a0)), rising = Math.sign(seen.wave[1]) * height / largest;
  const wave = [...seen.wave.map((u, i) => [i / d, u * rising]), [2, (2 - seen.a0) * rising]];
  const stairs = seen.potential.flatMap((U, i) => [[i / d, U], [(i + 1) / d, U]]);
  const nice = Number((height / 2).toPrecision(1));
  const potential = panel("The potential and its wave", {
    x: [-1, 2], y: [-1.1 * height, 1.1 * height], xticks: [-1, 0, 1, 2], yticks: [-2, -1, 0, 1, 2].map(k => k * nice).filter(U => Math.abs(U) < 1.1 * height),
    xlabel: "r / range", ylabel: "U(r)",
  }, (across, up) => `<path class="potential" d="${line([[0, 0], ...stairs, [1, 0]], across, up)}Z"/>
    <path class="thin" d="M${across(-1)} ${up(0)}H${across(2)}M${across(1)} ${up(-2 * height)}V${up(2 * height)}"/>
    <path class="wave" d="${line(wave, across, up)}"/><circle class="length" cx="${across(seen.a0)}" cy="${up(0)}" r="4"/>`);

  const deepest = seen.depths.at(-1), radius = Math.abs(seen.depth / seen.eigenvalue);
  const lengths = panel("The scattering length against the depth", {
    x: [-deepest, deepest], y: [-4, 4], xticks: [-1, -0.5, 0, 0.5, 1].map(k => k * deepest), yticks: [-4, -2, 0, 2, 4],
    xlabel: "depth", ylabel: "a₀ / range",
  }, (across, up) => {
    const vertical = (x, kind) => Number.isFinite(x) ? `<path class="${kind}" d="M${across(x)} 0V${HEIGHT}"/>` : "";
    const shown = y => Math.abs(y) < 5; // leave out points far outside the panel
    const orders = COLOURS.map((colour, n) => {
      const dots = seen.depths.map((x, k) => [x, seen.networks[k][n], k]).filter(([, y, k]) => k % 10 === 5 && shown(y));
      return `<path style="stroke: ${colour}" d="${line(seen.depths.map((x, k) => [x, seen.born[k][n]]).filter(([, y]) => shown(y)), across, up)}"/>`
        + dots.map(([x, y]) => `<circle style="fill: ${colour}" cx="${across(x).toFixed(2)}" cy="${up(y).toFixed(2)}" r="2.4"/>`).join("");
    });
    return vertical(-radius, "radius") + vertical(radius, "radius")
      + `<path class="exact" d="${line(seen.depths.map((x, k) => [x, seen.exact[k]]), across, up, 8)}"/>` + orders.join("") + vertical(seen.depth, "here");
  });

  const log = value => Math.log10(Math.abs(value) || 1e-99);
  const sizes = panel("The size of each order", {
    x: [0.5, COLOURS.length + 0.5], y: [-6, 3], xticks: range(COLOURS.length).map(n => n + 1), yticks: [-6, -3, 0, 3],
    xlabel: "order", ylabel: "|term| / range", label: t => `10<tspan dy="-5" font-size="8">${signed(t)}</tspan>`,
  }, (across, up) => COLOURS.map((colour, n) => `<circle style="stroke: ${colour}" cx="${across(n + 1)}" cy="${up(log(seen.terms[n]))}" r="6"/>
    <circle style="fill: ${colour}" cx="${across(n + 1)}" cy="${up(log(seen.learned[n]))}" r="2.4"/>`).join(""));
  return potential + lengths + sizes;
}

function report(seen) {
  const rounded = value => signed((Math.round(value * 1e5) / 1e5 + 0).toFixed(5));
  const columns = [seen.terms, seen.learned, sums(seen.terms), sums(seen.learned)];
  const rows = COLOURS.map((_, n) => `<tr><th scope="row">${n + 1}</th>${columns.map(column => `<td>${rounded(column[n])}</td>`).join("")}</tr>`);
  const verdict = Math.abs(seen.eigenvalue) < 1 ? "converges" : "diverges";
  return [`a₀ = ${rounded(seen.a0)} ranges; largest Weinberg eigenvalue ${rounded(seen.eigenvalue)}: the Born series ${verdict}`, `<table><tr><th>order</th><th>Born term</th><th>networks</th><th>Born sum</th><th>networks</th></tr>${rows.join("")}</table>`];
}

// ---- the controls ----

const STYLE = `
  .explorer { font: 14px/1.4 system-ui, sans-serif; color: inherit; max-width: 68rem }
  .explorer .controls { display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; align-items: center }
  .explorer label { display: flex; gap: .5rem; align-items: center; min-height: 2.2rem }
  .explorer select { font: inherit } .explorer input { width: 9rem; accent-color: #0072b2 }
  .explorer output { min-width: 3.2em; font-variant-numeric: tabular-nums }
  .explorer .picture { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: .5rem }
  .explorer svg { width: 100%; fill: none; stroke-width: 1.6 } .explorer svg svg { overflow: hidden; width: auto }
  .explorer .axes path { stroke: currentColor; stroke-width: 1; opacity: .6 } .explorer text { fill: currentColor; font-size: 12px }
  .explorer .thin { stroke: currentColor; stroke-width: .7; opacity: .5 } .explorer .potential { fill: #56b4e9; fill-opacity: .6 }
  .explorer .wave { stroke: #2a8fbd } .explorer .length { fill: currentColor }
  .explorer .exact { stroke: currentColor; stroke-width: 2.4 } .explorer .here { stroke: #d55e00 }
  .explorer .radius { stroke: currentColor; stroke-dasharray: 2 3; opacity: .7 }
  .explorer .key { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: 12px } .explorer p { margin: .5rem 0 }
  .explorer .numbers { overflow-x: auto } .explorer table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
  .explorer th, .explorer td { text-align: right; padding: .1rem 0 .1rem .6rem; font-weight: normal; border: 0 }`;
const KEY = ["● a₀ and line: exact", ...COLOURS.map((colour, n) => `<span style="color: ${colour}">― Born ${n + 1}</span>`),
  "small dots: networks", "⋮ radius of convergence", '<span style="color: #d55e00">| depth</span>'];

const KEYS = "data-lm-suppress-shortcuts"; // without this attribute JupyterLab intercepts the arrow keys

/** Put the explorer into an element, initially with the given shape and values. */
export function mount(element, data, shape, values) {
  const ranges = Object.fromEntries(Object.entries(data.shapes).map(([name, { depth, parameters }]) => [name, { depth, ...parameters }]));
  // The values of each shape are kept when another shape is chosen.
  const kept = Object.fromEntries(Object.entries(ranges).map(([name, moves]) =>
    [name, Object.fromEntries(Object.entries(moves).map(([name, [, first]]) => [name, first]))]));
  Object.assign(kept[shape], values);
  element.innerHTML = `<style>${STYLE}</style><div class="explorer"><div class="controls"><label>shape <select ${KEYS}>${
    Object.keys(ranges).map(name => `<option>${name}</option>`).join("")}</select></label><span class="controls sliders"></span></div>
    <div class="key">${KEY.map(entry => `<span>${entry}</span>`).join("")}</div><div class="picture"></div><div class="numbers"><p role="status"></p><div></div></div></div>`;
  const [select, sliders, drawn, verdict, numbers] = ["select", ".sliders", ".picture", "p", ".numbers div"].map(name => element.querySelector(name));

  function draw() {
    const seen = view(data, shape, kept[shape]);
    drawn.innerHTML = picture(seen);
    [verdict.textContent, numbers.innerHTML] = report(seen);
  }
  function choose() {
    shape = select.value;
    sliders.replaceChildren(...Object.entries(ranges[shape]).map(([name, [least, , most, step]]) => {
      const label = document.createElement("label");
      label.innerHTML = `${name} <input ${KEYS} type="range" min="${least}" max="${most}" step="${step}" value="${kept[shape][name]}"> <output></output>`;
      const [input, output] = label.children;
      const read = () => {
        kept[shape][name] = Number(input.value); // the browser rounds to a step
        output.value = signed(input.value);
      };
      read();
      input.addEventListener("input", () => { read(); draw(); });
      return label;
    }));
    draw();
  }
  select.value = shape;
  select.addEventListener("change", choose);
  choose();
}

export default { render: ({ model, el }) => mount(el, model.get("data"), model.get("shape"), model.get("values")) };
