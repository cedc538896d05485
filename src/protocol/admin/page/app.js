'use strict';
// The admin page: asks the admin API every two seconds, shows what it says, and sends what a person
// decides. Whatever comes from the server becomes text nodes and attributes, never markup.

const POLL_MS = 2000;
const PATIENCE_MS = 8000;
const FULL = 10000; // basis points: all requests
const UNREACHABLE = 0; // the status of no answer
const KEPT = 31; // polls remembered: a minute

const state = {
  turn: 0, // counts polls; an answer that comes after a newer turn began is dropped
  timer: 0,
  busy: false, // an action is under way
  model: null, // the chosen model's name
  status: null, list: [], events: [],
  traffic: null, experiment: null, rollout: null,
  since: null, // when the server was last reached
  drafts: new Map(), // what a person is editing, by model
  shelved: new Map(), // edits that lost against someone faster, by model
  reasons: new Map(),
  series: new Map(), // the last minute's counts, by model
  absent: new Map(), // paths that answered 404, with what was true then
};

const $ = (id) => document.getElementById(id);

// ---- Building and updating the page ----

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value != null && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(2).filter((child) => child != null && child !== false));
  return node;
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

/** Makes `old` look like `fresh`, touching only what differs, so that focus and selection survive. */
function morph(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  morphChildren(old, [...fresh.childNodes]);
}

function morphChildren(parent, fresh) {
  const old = [...parent.childNodes];
  fresh.forEach((node, i) => (old[i] ? morph(old[i], node) : parent.append(node)));
  old.slice(fresh.length).forEach((node) => node.remove());
}

function show(id, ...children) {
  morphChildren($(id), [...fill(document.createDocumentFragment(), {}, children).childNodes]);
}

function setText(id, text) {
  const node = $(id);
  if (node.textContent !== text) node.textContent = text;
}

/** Shows a text, or hides its element if there is none. */
function tell(id, text) {
  setText(id, text || '');
  $(id).hidden = !text;
}

// ---- Numbers and times as text ----

const known = (x) => typeof x === 'number' && Number.isFinite(x);
const percent = (share, digits = 2) => (known(share) ? `${(share * 100).toFixed(digits)}\u00a0%` : '–');
const points = (weight) => percent(weight / FULL);
const count = (n) => (known(n) ? n.toLocaleString('en') : '–');
const millis = (n) => (known(n) ? `${n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)}\u00a0ms` : '–');
const colour = (version) => `c${version % 6}`;

function span(seconds) {
  if (!known(seconds)) return '–';
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

function when(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return '–';
  const ago = (Date.now() - date) / 1000;
  return h('time', { datetime: date.toISOString(), title: date.toLocaleString() }, ago < 2 ? 'just now' : `${span(ago)} ago`);
}

/** A metric's value: shares as percentages, anything else as it is. */
function metricValue(metric, x, digits = 1) {
  if (!known(x)) return '–';
  return isShare(metric) ? percent(x, digits) : String(Number(x.toPrecision(4)));
}

function metricDifference(metric, x) {
  if (!known(x)) return '–';
  const text = isShare(metric) ? `${(x * 100).toFixed(1)} points` : String(Number(x.toPrecision(3)));
  return x > 0 ? `+${text}` : text.replace('-', '−');
}

const isShare = (metric) => ['accuracy', 'agreement', 'error_rate', 'correct'].includes(metric);

// ---- Talking to the server ----

class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function call(method, path, body) {
  const headers = {};
  const token = sessionStorage.getItem('token');
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = 'application/json';
  const response = await fetch(`admin/v1/${path}`, {
    method, headers, body: body && JSON.stringify(body), cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS),
  }).catch(() => { throw new ApiError(UNREACHABLE, "the server can't be reached"); });
  if (response.ok) return response.json();
  const { error } = await response.json().catch(() => ({})); // an error's body need not be JSON
  throw new ApiError(response.status, error || `the server answered ${response.status}`);
}

const ofModel = (rest = '', name = state.model) => `models/${encodeURIComponent(name)}${rest}`;

/** Gets what may be missing: null instead of an error that concerns this path alone. */
async function optional(path, truth) {
  if (truth !== undefined && state.absent.get(path) === truth) return null;
  try {
    return await call('GET', path);
  } catch (error) {
    if ([UNREACHABLE, 401, undefined].includes(error.status)) throw error;
    if (error.status === 404) state.absent.set(path, truth); // ask again when something has changed
    return null;
  }
}

async function fetchModel(name, events) {
  const traffic = await optional(ofModel('/traffic', name));
  const rolls = (traffic?.history ?? []).some((d) => d.rollout) || events.some((e) => e.kind === 'rollout' && e.model === name);
  const revision = traffic?.current?.revision ?? 0;
  const [experiment, rollout] = await Promise.all([
    optional(ofModel('/experiment', name), revision),
    rolls ? optional(ofModel('/rollout', name), `${revision} ${events[0]?.at}`) : null,
  ]);
  return { traffic, experiment, rollout };
}

async function fetchAll() {
  const [status, models, told] = await Promise.all([
    call('GET', 'status'), call('GET', 'models'), optional('events?limit=60'),
  ]);
  const list = models.models ?? [];
  const events = told?.events ?? [];
  const model = chosen(list);
  const parts = model ? await fetchModel(model, events) : { traffic: null, experiment: null, rollout: null };
  return { status, list, events, model, ...parts };
}

/** The model of the address (#/name), or else the first. */
function chosen(list) {
  const wanted = addressed();
  return list.some((m) => m.name === wanted) ? wanted : list[0]?.name ?? null;
}

function addressed() {
  try {
    return location.hash.startsWith('#/') ? decodeURIComponent(location.hash.slice(2)) : null;
  } catch {
    return null;
  }
}

async function poll() {
  clearTimeout(state.timer);
  const turn = ++state.turn;
  let again = true;
  try {
    const fresh = await fetchAll();
    if (turn === state.turn) accept(fresh);
  } catch (error) {
    if (turn === state.turn) again = failed(error);
  }
  if (turn === state.turn && again && !document.hidden) state.timer = setTimeout(poll, POLL_MS);
}

function accept(fresh) {
  Object.assign(state, fresh);
  state.since = new Date();
  tell('offline', '');
  document.body.classList.remove('cut');
  $('lock').hidden = true;
  remember();
  render();
}

/** Tells why a poll failed; whether to go on polling. */
function failed(error) {
  if (error.status === 401 || error.status === 403) {
    lock(error);
    return false;
  }
  const why = error.status === UNREACHABLE ? "The server can't be reached." : `Something is wrong: ${error.message}.`;
  const old = state.since ? ` What is shown is from ${state.since.toLocaleTimeString()}.` : '';
  tell('offline', `${why} Trying again every ${POLL_MS / 1000} s.${old}`);
  document.body.classList.add('cut');
  return true;
}

/** Does what a person asked for, tells how it went and shows what is true now. */
async function act(what, doing, done) {
  if (state.busy) return;
  state.busy = true;
  try {
    say(done(await doing()));
  } catch (error) {
    if (error.status === 401) lock(error);
    else alarm(`${what}: ${error.message}${error.status === UNREACHABLE ? ". Whether it was done isn't known." : ''}`);
  } finally {
    state.busy = false;
    if ($('lock').hidden) await poll();
  }
}

// ---- Messages and the token ----

let fading = 0;

function announce(said, alarmed = '') {
  clearTimeout(fading);
  setText('said', said);
  setText('alarm', alarmed);
  $('notice').className = `notice ${said || alarmed ? 'on' : ''} ${alarmed ? 'alarm' : ''}`;
  if (said) fading = setTimeout(hush, 8000);
}

const say = (text) => announce(text);
const alarm = (text) => announce('', text);
const hush = () => announce('');

function lock(error) {
  const had = sessionStorage.getItem('token');
  tell('offline', '');
  setText('lock-why', had ? `The token was not accepted: ${error.message}.` : `The server says: ${error.message}.`);
  if ($('lock').hidden) {
    $('lock').hidden = false;
    $('token').focus();
  }
}

function useToken(event) {
  event.preventDefault();
  sessionStorage.setItem('token', $('token').value.trim());
  $('token').value = '';
  poll();
}

function forgetToken() {
  sessionStorage.removeItem('token');
  location.reload();
}

// ---- The last minute ----

const memory = () => state.series.get(state.model) ?? [];

function remember() {
  if (!state.experiment) return;
  const arms = new Map((state.experiment.arms ?? []).map((arm) => [arm.version, arm]));
  state.series.set(state.model, [...memory(), { at: performance.now(), arms }].slice(-KEPT));
}

/** How much a version's counter rose over these polls. Counters may start anew: falls don't count. */
function rise(kept, version, counter) {
  let sum = 0;
  for (let i = 1; i < kept.length; i++) {
    const before = kept[i - 1].arms.get(version)?.[counter] ?? 0;
    const after = kept[i].arms.get(version)?.[counter] ?? 0;
    if (kept[i - 1].arms.has(version)) sum += Math.max(0, after - before);
  }
  return sum;
}

/** A version's share and rate of the last ten seconds; its errors of the last minute, or else of all time. */
function liveOf(arm, arms) {
  const recent = memory().slice(-6);
  const seconds = (recent[recent.length - 1].at - recent[0].at) / 1000;
  const all = arms.reduce((sum, a) => sum + rise(recent, a.version, 'requests'), 0);
  const now = rise(recent, arm.version, 'requests');
  const minute = rise(memory(), arm.version, 'requests');
  const errors = minute ? rise(memory(), arm.version, 'errors') / minute : arm.errors / arm.requests;
  return { share: all ? now / all : null, rate: seconds ? now / seconds : null, errors };
}

// ---- Drawings ----

const at = (fraction) => `${(Math.min(1, Math.max(0, fraction)) * 100).toFixed(2)}%`;

function bar(parts, text) {
  let x = 0;
  const boxes = parts.filter((p) => p.weight > 0).map(({ version, weight }) => {
    const box = svg('rect', { class: `fill ${colour(version)}`, x: at(x), y: 0, width: at(weight / FULL), height: '100%' });
    x += weight / FULL;
    return box;
  });
  return svg('svg', { class: 'stack', role: 'img', 'aria-label': text }, boxes);
}

/** p50, p90 and p99 as three nested bars, on the scale of the slowest version; the numbers stand beside them. */
function latencyBars(latency, most, version) {
  const box = (key, y, height) =>
    known(latency[key]) && svg('rect', { class: `fill ${colour(version)} ${key}`, x: 0, y, width: at(latency[key] / most), height, rx: 2 });
  return svg('svg', { class: 'bars', 'aria-hidden': 'true' }, box('p99', 7, 6), box('p90', 5, 10), box('p50', 3, 14));
}

function sparkline(version) {
  const values = memory().map((k) => k.arms.get(version)?.latency_ms?.p99);
  const seen = values.filter(known);
  const most = Math.max(...seen, 1e-9) * 1.1;
  const place = (v, i) => `${(((KEPT - values.length + i) / (KEPT - 1)) * 120).toFixed(1)},${(22 - (v / most) * 20).toFixed(1)}`;
  const line = values.map((v, i) => (known(v) ? place(v, i) : null)).filter(Boolean).join(' ');
  const text = seen.length ? `p99 from ${millis(Math.min(...seen))} to ${millis(Math.max(...seen))}` : 'no latency yet';
  return svg('svg', { class: 'spark', viewBox: '0 0 120 24', preserveAspectRatio: 'none', role: 'img', 'aria-label': text },
    svg('line', { class: 'floor', x1: 0, x2: 120, y1: 23, y2: 23 }),
    line && svg('polyline', { class: `line ${colour(version)}`, points: line }));
}

/** A value with its interval, on an axis from `low` to `high`; with a band, also a line at zero. */
function whisker({ value, interval, low, high, version, band, text }) {
  const x = (v) => at((v - low) / (high - low || 1));
  return svg('svg', { class: 'whisker', role: 'img', 'aria-label': text },
    band && svg('rect', { class: 'band', x: x(band[0]), width: at((band[1] - band[0]) / (high - low || 1)), y: 0, height: '100%' }),
    svg('line', { class: 'floor', x1: 0, x2: '100%', y1: 13, y2: 13 }),
    band && svg('line', { class: 'mark', x1: x(0), x2: x(0), y1: 1, y2: 25 }),
    interval && svg('line', { class: `line thick ${colour(version)}`, x1: x(interval[0]), x2: x(interval[1]), y1: 13, y2: 13 }),
    known(value) && svg('circle', { class: `fill dot ${colour(version)}`, cx: x(value), cy: 13, r: 5 }));
}

/** The ends of an axis that holds all of these, with some air. */
function axis(values) {
  const seen = values.flat().filter(known);
  if (!seen.length) return [0, 1];
  const [low, high] = [Math.min(...seen), Math.max(...seen)];
  const air = (high - low || Math.abs(high) || 1) * 0.12;
  return [low - air, high + air];
}

// ---- Showing ----

function render() {
  $('page').hidden = false;
  $('forget').hidden = !sessionStorage.getItem('token');
  renderStatus();
  renderModels();
  renderEvents();
  const model = state.list.find((m) => m.name === state.model);
  $('model').hidden = !model;
  tell('empty', model ? '' : 'No models yet: the repository is empty.');
  document.title = model ? `${model.name} – Ocelli` : 'Ocelli';
  if (!model) return;
  renderHead(model);
  renderVersions(model);
  renderEditor(model);
  renderRollout(model);
  renderExperiment();
  renderHistory();
}

const chip = (text, kind = '') => h('span', { class: `chip ${kind}` }, String(text).replace('_', ' '));
const dot = (version) => h('span', { class: `dot ${colour(version)}`, 'aria-hidden': 'true' });
const nothing = (text) => h('p', { class: 'quiet' }, text);
const quiet = (...parts) => h('span', { class: 'quiet' }, ...parts);

function renderStatus() {
  const { ready, version, replica, uptime_seconds: up, store } = state.status;
  show('status',
    chip(ready ? 'ready' : 'not ready', ready ? 'good' : 'bad'),
    h('span', {}, [version && `version ${version}`, replica && `replica ${replica}`, known(up) && `up ${span(up)}`].filter(Boolean).join(' · ')),
    store && !store.ok && chip(`store: ${store.error || 'not well'}`, 'bad'));
}

/** A model's health as a word and its kind. */
function health(model) {
  const serving = model.versions.filter((v) => v.state === 'AVAILABLE').length;
  if (model.problem || !serving) return ['problem', 'bad'];
  if (model.versions.some((v) => v.error)) return ['partly', 'warn'];
  return ['healthy', 'good'];
}

function renderModels() {
  show('models', state.list.map((model) => {
    const [word, kind] = health(model);
    return h('li', {}, h('a', { href: `#/${encodeURIComponent(model.name)}`, 'aria-current': model.name === state.model && 'page' },
      h('span', { class: 'label' }, model.name), chip(word, kind)));
  }));
}

function renderHead(model) {
  setText('name', model.name);
  tell('problem', model.problem);
  const doc = state.traffic?.current;
  show('now', doc
    ? [`Revision ${doc.revision} by ${doc.author || 'someone'}, `, when(doc.created), doc.reason && `: ${doc.reason}`]
    : 'No traffic was ever published: the latest version answers.');
  renderRollback();
}

function renderRollback() {
  const target = state.traffic?.rollback?.[0];
  const button = $('rollback');
  button.disabled = !target;
  setText('rollback', target ? `Roll back to revision ${target.revision}` : 'Roll back');
  if (!target) return setText('rollback-how', 'There is nothing to go back to.');
  button.dataset.to = target.revision;
  const doc = state.traffic.history?.find((d) => d.revision === target.revision);
  setText('rollback-how', doc ? `${speed(target)} – ${splitText(doc)}` : speed(target));
}

const speed = (target) => (target.instant ? 'Instant' : `Not instant: version ${(target.missing ?? []).join(', ')} must be loaded first`);

function splitText(doc) {
  const arms = doc.arms ?? [];
  return arms.length ? arms.map((a) => `v${a.version} ${points(a.weight)}`).join(' · ') : 'follows the latest version';
}

function renderVersions(model) {
  const split = state.traffic?.split ?? [];
  show('share', split.length > 0 && bar(split, `in force: ${split.map((a) => `version ${a.version} ${points(a.weight)}`).join(', ')}`));
  const arms = state.experiment?.arms ?? [];
  const most = Math.max(...arms.map((a) => a.latency_ms?.p99).filter(known), 1e-9);
  const newest = [...model.versions].sort((a, b) => b.version - a.version);
  show('versions', newest.map((v) => versionRow(v, model, split, arms, most)));
}

function versionRow(v, model, split, arms, most) {
  const labels = Object.entries(model.labels ?? {}).filter(([, version]) => version === v.version).map(([label]) => chip(label));
  const arm = arms.find((a) => a.version === v.version);
  const weight = split.find((a) => a.version === v.version)?.weight ?? 0;
  return h('li', {},
    h('div', { class: 'line1' }, dot(v.version), h('strong', {}, `Version ${v.version}`),
      chip(v.state.toLowerCase(), v.error ? 'bad' : v.state === 'AVAILABLE' ? 'good' : 'warn'), labels,
      v.engine && quiet(v.engine), v.digest && h('span', { title: v.digest, class: 'mono quiet' }, shortDigest(v.digest)),
      v.loaded_at_unix && quiet('loaded ', when(v.loaded_at_unix * 1000))),
    v.error && h('p', { class: 'bad' }, v.error),
    (arm || weight > 0) && numbers(v.version, weight, arm, arms, most));
}

const shortDigest = (digest) => digest.replace(/^([^:]*:)?(.{12}).*$/, '$1$2…');

function numbers(version, weight, arm, arms, most) {
  const fact = (name, value, kind) => h('div', { class: kind }, h('dt', {}, name), h('dd', {}, value));
  if (!arm) return h('dl', { class: 'numbers' }, fact('planned', points(weight)), fact('requests', 'none seen yet'));
  const live = liveOf(arm, arms);
  const latency = arm.latency_ms ?? {};
  return h('dl', { class: 'numbers' },
    fact('planned', points(weight)),
    fact('live share', percent(live.share)),
    fact('requests', h('span', { title: `${count(arm.requests)} in all` }, known(live.rate) ? `${live.rate.toFixed(1)} /s` : '–')),
    fact('errors', h('span', { title: `${count(arm.errors)} of ${count(arm.requests)} in all` }, percent(live.errors)), live.errors > 0.01 && 'hot'),
    fact('p50', millis(latency.p50)), fact('p90', millis(latency.p90)), fact('p99', millis(latency.p99)),
    fact('latency', latencyBars(latency, most, version), 'draw'),
    fact('p99, last minute', sparkline(version), 'draw'));
}

function renderHistory() {
  const docs = [...(state.traffic?.history ?? [])].reverse();
  const targets = new Map((state.traffic?.rollback ?? []).map((t) => [t.revision, t]));
  if (!docs.length) return show('history', h('li', { class: 'quiet' }, 'Nothing was published yet.'));
  show('history', docs.slice(0, 100).map((doc, i) => historyRow(doc, i === 0, targets.get(doc.revision))));
}

function historyRow(doc, current, target) {
  const marks = [doc.restores && `brings back revision ${doc.restores}`, doc.sticky && `sticky by ${doc.sticky.by}`,
    doc.shadow?.length && 'shadow', doc.match?.length && 'match', doc.rollout && 'by a rollout', doc.bandit && 'by a bandit'].filter(Boolean);
  return h('li', {},
    h('div', { class: 'line1' }, h('strong', {}, `Revision ${doc.revision}`), current && chip('in force', 'good'),
      quiet(`${doc.author || 'someone'}, `, when(doc.created)),
      target && h('button', { class: 'small', 'data-to': doc.revision, title: speed(target) }, `Go back to revision ${doc.revision}`)),
    h('p', {}, doc.reason || quiet('no reason given')),
    h('p', { class: 'quiet num' }, [splitText(doc), ...marks].join(' · ')));
}

function renderEvents() {
  if (!state.events.length) return show('events', h('li', { class: 'quiet' }, 'Nothing happened yet.'));
  show('events', state.events.map((e) => h('li', {},
    h('div', { class: 'line1' }, chip(e.kind, e.kind === 'rollback' ? 'bad' : ''), h('strong', {}, e.model),
      quiet(when(e.at))),
    h('p', {}, e.message))));
}

// ---- The experiment ----

const VERDICT_KINDS = { better: 'good', worse: 'bad' };

function renderExperiment() {
  const found = state.experiment;
  if (!found) return show('experiment', nothing('No experiment is measured for this model.'));
  const arms = found.arms ?? [];
  const pairs = found.comparisons ?? [];
  show('experiment',
    h('p', { class: 'lead' }, found.verdict || 'No verdict yet.'),
    arms.length > 0 && armPlot(found, arms),
    pairs.length > 0 && pairPlot(found, pairs),
    found.sample_ratio && h('p', { class: found.sample_ratio.ok ? 'quiet' : 'bad' }, found.sample_ratio.words),
    known(found.since_revision) && nothing(`Counted since revision ${found.since_revision}.`));
}

const rangeText = (interval, value) => (interval ? interval.map(value).join(' to ') : 'no interval yet');

function armPlot(found, arms) {
  const [low, high] = axis(arms.flatMap((a) => [a.mean, a.interval ?? []]));
  const value = (x) => metricValue(found.metric, x);
  return h('div', { class: 'plot' },
    h('h4', {}, `${found.metric} by version`),
    arms.map((a) => {
      const range = rangeText(a.interval, value);
      return h('div', { class: 'row' },
        h('span', { class: 'tag' }, dot(a.version), `v${a.version}`),
        whisker({ value: a.mean, interval: a.interval, low, high, version: a.version, text: `version ${a.version}: ${value(a.mean)}, ${range}` }),
        h('span', { class: 'told num' }, h('strong', {}, value(a.mean)), ` of ${count(a.samples)}`, h('small', {}, range)));
    }));
}

function pairPlot(found, pairs) {
  const effect = found.min_effect ?? 0;
  const value = (x) => metricDifference(found.metric, x);
  const [low, high] = axis([0, effect, -effect, ...pairs.flatMap((p) => [p.difference, p.interval ?? []])]);
  return h('div', { class: 'plot' },
    h('h4', {}, 'Difference ', quiet(`(line: none; band: less than ${value(effect).replace('+', '')})`)),
    pairs.map((p) => h('div', { class: 'row' },
        h('span', { class: 'tag' }, `v${p.version} − v${p.baseline}`),
        whisker({ value: p.difference, interval: p.interval, low, high, version: p.version, band: [-effect, effect], text: p.words }),
        h('span', { class: 'told num' }, h('strong', {}, value(p.difference)), ' ', chip(p.verdict, VERDICT_KINDS[p.verdict]),
          h('small', {}, rangeText(p.interval, value).replace(' points', ''))),
        pairs.length > 1 && h('p', { class: 'quiet all' }, p.words))));
}

// ---- The rollout ----

const ROLLOUT_KINDS = { running: 'good', paused: 'warn', done: 'good', rolled_back: 'bad', aborted: 'bad' };
const GATE_KINDS = { ok: 'good', waiting: 'warn', breached: 'bad' };
const underway = () => ['running', 'paused'].includes(state.rollout?.state);

function renderRollout(model) {
  const r = state.rollout;
  show('rollout', r ? rolloutShown(r) : nothing('No rollout moves this model.'));
  $('steer').hidden = !underway();
  $('start-box').hidden = underway();
  document.querySelector('[data-steer=pause]').hidden = r?.state !== 'running';
  document.querySelector('[data-steer=resume]').hidden = r?.state !== 'paused';
  const loaded = loadedVersions(model);
  syncOptions($('start-to'), loaded.map((v) => [v, `version ${v}`]), loaded[loaded.length - 1]);
  syncOptions($('start-from'), [['', 'what answers now'], ...loaded.map((v) => [v, `version ${v}`])], '');
}

function rolloutShown(r) {
  const pace = underway() ? `${span(r.in_step_seconds)} in this step, which takes ${r.interval}` : '';
  return [
    h('p', { class: 'line1' }, chip(r.state, ROLLOUT_KINDS[r.state]),
      dot(r.from), `version ${r.from}`, ' → ', dot(r.to), h('strong', {}, `version ${r.to}`), quiet(pace)),
    h('ol', { class: 'ladder', 'aria-label': 'Steps' }, r.steps.map((step, i) => ladderStep(r, step, i))),
    r.reason && h('p', {}, r.reason),
    (r.gates ?? []).length > 0 && h('ul', { class: 'gates', 'aria-label': 'Gates' }, r.gates.map(gateRow)),
  ];
}

function ladderStep(r, step, i) {
  const here = i === r.step && r.state !== 'done';
  const kind = here ? 'here' : i < r.step || r.state === 'done' ? 'past' : 'ahead';
  return h('li', { class: `${kind} ${r.state}`, 'aria-current': here && 'step' }, `${step} %`);
}

function gateRow(gate) {
  return h('li', {}, chip(gate.state, GATE_KINDS[gate.state]), h('div', {}, h('span', { class: 'mono' }, gate.gate),
    h('p', { class: 'quiet num' }, gate.detail)));
}

/** Gives a select these options, keeping what is chosen. */
function syncOptions(select, options, first) {
  const signature = JSON.stringify(options);
  if (select.dataset.options === signature || select === document.activeElement) return;
  const value = options.some(([v]) => String(v) === select.value) ? select.value : first;
  select.dataset.options = signature;
  select.replaceChildren(...options.map(([v, text]) => h('option', { value: v }, text)));
  select.value = value;
}

function steer(word) {
  return act(`Could not ${word}`, () => call('POST', ofModel(`/rollout/${word}`), signed({})),
    (rollout) => `The rollout is ${rollout.state.replace('_', ' ')}.`);
}

function startBody() {
  const body = {
    to: Number($('start-to').value),
    steps: $('start-steps').value.split(/[\s,;%]+/).filter(Boolean).map(Number),
    interval: $('start-interval').value.trim(),
    gates: $('start-gates').value.split('\n').map((line) => line.trim()).filter(Boolean),
  };
  if ($('start-from').value) body.from = Number($('start-from').value);
  if ($('start-timeout').value.trim()) body.timeout = $('start-timeout').value.trim();
  if ($('start-samples').value) body.min_samples = Number($('start-samples').value);
  return signed(body, $('start-reason').value);
}

function startRollout(event) {
  event.preventDefault();
  const body = startBody();
  if (!body.steps.every((s) => s > 0 && s <= 100)) return alarm('The steps must be percentages, such as 1, 5, 25, 50, 100.');
  return act('The rollout did not start', () => call('POST', ofModel('/rollout'), body), () => {
    state.absent.clear();
    $('start-box').open = false;
    $('start-reason').value = '';
    return `The rollout to version ${body.to} has started.`;
  });
}

/** Adds who asks for it, and why. */
function signed(body, reason) {
  const author = $('author').value.trim();
  if (author) body.author = author;
  if (reason?.trim()) body.reason = reason.trim();
  return body;
}

// ---- The draft: what a person is editing ----

const loadedVersions = (model) => model.versions.filter((v) => v.state === 'AVAILABLE').map((v) => v.version).sort((a, b) => a - b);

/** A draft that says what the server says. */
function draftOf(traffic) {
  const doc = traffic.current ?? {};
  const arms = doc.arms?.length ? doc.arms : traffic.split ?? [];
  const draft = {
    revision: traffic.current?.revision ?? null,
    latest: Boolean(traffic.latest),
    weights: Object.fromEntries(arms.map((a) => [a.version, a.weight])),
    extras: { sticky: doc.sticky ?? null, shadow: doc.shadow ?? [], match: doc.match ?? [] },
    anchor: null, // the weights at the start of a drag, so that dragging back restores them
    dragged: null,
  };
  draft.original = copyOf(draft);
  return draft;
}

const copyOf = ({ latest, weights, extras }) => structuredClone({ latest, weights, extras });

const armsOf = (weights) => Object.entries(weights).filter(([, w]) => w > 0).map(([v, w]) => ({ version: Number(v), weight: w }));
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function changed(draft) {
  const { original } = draft;
  return draft.latest !== original.latest || (!draft.latest && !same(armsOf(draft.weights), armsOf(original.weights)))
    || !same(draft.extras, original.extras);
}

/** The draft of the model shown. An untouched one follows the server; a touched one is left alone. */
function currentDraft() {
  const kept = state.drafts.get(state.model);
  if (kept && (changed(kept) || !state.traffic)) return kept;
  if (!state.traffic) return null;
  const fresh = draftOf(state.traffic);
  state.drafts.set(state.model, fresh);
  return fresh;
}

/**
 * Gives `version` the weight `wanted`; the others share the rest as they shared it in `anchor`.
 * The sum stays FULL: what rounding leaves goes to the largest remainders.
 */
function redistribute(anchor, version, wanted) {
  const mine = Math.min(FULL, Math.max(0, Math.round(wanted)));
  const others = Object.keys(anchor).filter((v) => v !== String(version));
  if (!others.length) return { [version]: FULL };
  const sum = others.reduce((total, v) => total + anchor[v], 0);
  const parts = others.map((v) => ({ v, exact: ((FULL - mine) * (sum ? anchor[v] : 1)) / (sum || others.length) }));
  const next = { [version]: mine };
  for (const part of parts) next[part.v] = Math.floor(part.exact);
  let left = FULL - Object.values(next).reduce((a, b) => a + b, 0);
  parts.sort((a, b) => (b.exact % 1) - (a.exact % 1));
  for (const { v } of parts) if (left-- > 0) next[v] += 1;
  return next;
}

function setShare(version, weight) {
  const draft = currentDraft();
  if (!draft) return;
  if (draft.dragged !== version) {
    draft.dragged = version;
    draft.anchor = { ...draft.weights };
    for (const row of $('sliders').children) draft.anchor[row.dataset.version] ??= 0;
  }
  draft.weights = redistribute(draft.anchor, version, weight);
  renderDraft(draft);
}

function publishBody(draft) {
  const body = draft.latest ? { latest: true } : { arms: armsOf(draft.weights) };
  for (const part of ['sticky', 'shadow', 'match']) {
    if (same(draft.extras[part], draft.original.extras[part])) continue;
    body[part] = draft.extras[part]?.length === 0 ? null : draft.extras[part];
  }
  if (draft.revision !== null) body.if_revision = draft.revision;
  return signed(body, $('reason').value);
}

async function publish(event) {
  event.preventDefault();
  const draft = currentDraft();
  if (!draft || !changed(draft)) return;
  const name = state.model;
  const asked = copyOf(draft);
  const reason = $('reason').value;
  await act('Not published', async () => {
    try {
      return await call('PUT', ofModel('/traffic', name), publishBody(draft));
    } catch (error) {
      if (error.status !== 409) throw error;
      state.shelved.set(name, draft);
      state.drafts.delete(name);
      throw new ApiError(409, `someone else was faster (${error.message}). What is in force now is shown; your edit is set aside.`);
    }
  }, ({ current }) => {
    Object.assign(draft, { original: asked, revision: current.revision }); // what was edited meanwhile stays an edit
    state.shelved.delete(name);
    clearReason(name, reason);
    adopt(name, current);
    return `Published: revision ${current.revision} is in force.`;
  });
}

/** Takes over what the server has just answered, ahead of the next poll. */
function adopt(name, current) {
  if (name !== state.model || !state.traffic) return;
  const arms = current.arms ?? [];
  Object.assign(state.traffic, { current, latest: !arms.length, split: arms.length ? arms : state.traffic.split });
  render();
}

/** Puts an edit that lost against someone faster upon what is in force now. */
function bringBack() {
  const shelved = state.shelved.get(state.model);
  if (!shelved || !state.traffic) return;
  const draft = draftOf(state.traffic);
  Object.assign(draft, { latest: shelved.latest, weights: { ...shelved.weights } });
  for (const part of ['sticky', 'shadow', 'match']) { // what was not touched stays as it is now
    if (!same(shelved.extras[part], shelved.original.extras[part])) draft.extras[part] = shelved.extras[part];
  }
  state.drafts.set(state.model, draft);
  state.shelved.delete(state.model);
  render();
  say(`Your edit is back, upon revision ${draft.revision}.`);
}

function discard() {
  state.drafts.delete(state.model);
  clearReason(state.model, $('reason').value);
  render();
}

/** Empties the reason, unless something else was typed since. */
function clearReason(name, used) {
  if ((state.reasons.get(name) ?? '') === used) state.reasons.delete(name);
  if (name === state.model) $('reason').value = state.reasons.get(name) ?? '';
}

function rollBack({ target, detail }) {
  const revision = Number(target.dataset.to);
  if (!revision || detail > 1) return; // the second click of a double click would undo the first
  const name = state.model;
  const draft = state.drafts.get(name);
  const reason = draft && changed(draft) ? '' : $('reason').value; // a reason typed for an edit isn't this one's
  act('Not rolled back', () => call('POST', ofModel('/traffic/rollback'), signed({ to: revision }, reason)), ({ current }) => {
    clearReason(name, reason);
    adopt(name, current);
    return `Rolled back: the split of revision ${revision} is in force as revision ${current.revision}.`;
  });
}

// ---- The editor ----

function renderEditor(model) {
  const draft = currentDraft();
  $('editor').hidden = !draft;
  tell('driven', !draft ? "The model's traffic can't be read."
    : underway() ? 'A rollout moves these weights. Publishing others takes them out of its hands.'
      : state.traffic?.current?.bandit ? 'A bandit moves these weights.' : '');
  if (!draft) return;
  if ($('editor').dataset.model !== state.model) switchEditor();
  const loaded = loadedVersions(model);
  const versions = [...new Set([...loaded, ...Object.keys(draft.weights).map(Number)])].sort((a, b) => a - b);
  syncSliders(versions, loaded);
  syncExtras(draft, versions);
  renderDraft(draft);
}

function switchEditor() {
  $('editor').dataset.model = state.model;
  $('reason').value = state.reasons.get(state.model) ?? '';
  $('sliders').replaceChildren();
}

function syncSliders(versions, loaded) {
  const box = $('sliders');
  for (const row of [...box.children]) if (!versions.includes(Number(row.dataset.version))) row.remove();
  versions.forEach((version, i) => {
    if (box.children[i]?.dataset.version !== String(version)) box.insertBefore(sliderRow(version), box.children[i] ?? null);
    box.children[i].querySelector('.missing').hidden = loaded.includes(version);
  });
}

function sliderRow(version) {
  const id = `share-${version}`;
  return h('div', { class: `slider ${colour(version)}`, 'data-version': version },
    h('label', { for: id }, `Version ${version}`, h('span', { class: 'missing bad', hidden: true }, ' not loaded')),
    h('input', { id, type: 'range', min: 0, max: FULL, step: 1 }),
    h('span', { class: 'exact' }, h('input', { type: 'number', min: 0, max: 100, step: 0.01, inputmode: 'decimal', 'aria-label': `Share of version ${version} in percent` }), ' %'),
    h('span', { class: 'live quiet num' }));
}

/** Shows the draft's weights and what can be done with it. */
function renderDraft(draft) {
  const single = $('sliders').children.length < 2;
  $('latest').checked = draft.latest;
  $('split').disabled = draft.latest;
  for (const row of $('sliders').children) renderSlider(row, draft, single);
  const sum = Object.values(draft.weights).reduce((a, b) => a + b, 0);
  setText('sum', draft.latest ? 'The latest version answers everything.' : `Together ${points(sum)}`);
  renderButtons(draft);
}

function renderSlider(row, draft, single) {
  const [range, exact] = row.querySelectorAll('input');
  const weight = draft.weights[row.dataset.version] ?? 0;
  if (Number(range.value) !== weight) range.value = weight;
  range.setAttribute('aria-valuetext', points(weight));
  if (exact !== document.activeElement) exact.value = (weight / 100).toFixed(2);
  range.disabled = exact.disabled = single && weight === FULL;
  const live = state.traffic?.split?.find((a) => String(a.version) === row.dataset.version)?.weight ?? 0;
  const text = live === weight || draft.latest ? '' : `now ${points(live)}`;
  const told = row.querySelector('.live');
  if (told.textContent !== text) told.textContent = text;
}

function renderButtons(draft) {
  const edited = changed(draft);
  const revision = state.traffic?.current?.revision ?? null;
  $('publish').disabled = !edited;
  $('discard').hidden = !edited;
  $('bring-back').hidden = !state.shelved.has(state.model);
  tell('stale', edited && draft.revision !== revision
    ? `Revision ${revision} was published while you were editing revision ${draft.revision}: yours will not overwrite it.` : '');
  const { sticky, shadow, match } = draft.extras;
  const told = [sticky && `sticky by ${sticky.by}`, shadow.length && `${shadow.length} shadow`, match.length && `${match.length} match`].filter(Boolean);
  setText('extras-told', told.join(', ') || 'none set');
}

const versionOf = (input) => Number(input.closest('.slider').dataset.version);

function onSlide({ target }) {
  if (target.type === 'range') setShare(versionOf(target), Number(target.value));
}

function onExact({ target }) {
  if (target.type !== 'number') return;
  endDrag();
  if (target.value !== '') setShare(versionOf(target), target.value * 100);
  endDrag();
  target.value = ((currentDraft()?.weights[versionOf(target)] ?? 0) / 100).toFixed(2);
}

/** Arrow keys move a slider by 1 %, with Shift by 0.01 %. Enter publishes from the reason only. */
function onEditorKey(event) {
  if (event.key === 'Enter' && event.target.matches('input:not(#reason)')) {
    event.preventDefault();
    event.target.dispatchEvent(new Event('change', { bubbles: true }));
  }
  const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
  if (!way || event.target.type !== 'range') return;
  event.preventDefault();
  setShare(versionOf(event.target), Number(event.target.value) + way * (event.shiftKey ? 1 : 100));
}

function endDrag() {
  const draft = state.drafts.get(state.model);
  if (draft) draft.dragged = null;
}

// ---- Sticky, shadow, match ----

/** Rebuilds the fields when they don't say what the draft says; never while the draft holds an edit of them. */
function syncExtras(draft, versions) {
  const box = $('extras');
  const signature = JSON.stringify([state.model, draft.extras, versions]);
  if (box.dataset.shown === signature) return;
  if (box.contains(document.activeElement) && same(readExtras(), draft.extras)) return;
  box.dataset.shown = signature;
  const { sticky, shadow, match } = draft.extras;
  $('sticky-by').value = sticky?.by ?? '';
  $('sticky-name').value = sticky?.name ?? '';
  $('sticky-salt').value = sticky?.salt ?? '';
  $('shadows').replaceChildren(...shadow.map((s) => shadowRow(s, versions)));
  $('matches').replaceChildren(...match.map((m) => matchRow(m, versions)));
  showStickyFields();
}

function versionSelect(version, versions) {
  const all = [...new Set([...versions, version])].sort((a, b) => a - b);
  return h('label', {}, 'Version ', h('select', { 'data-field': 'version' }, all.map((v) => h('option', { value: v, selected: v === version }, `${v}`))));
}

const field = (name, key, value, more) => h('label', {}, `${name} `, h('input', { 'data-field': key, value, ...more }));
const remover = (what) => h('button', { type: 'button', class: 'small', 'data-remove': '', 'aria-label': `Remove this ${what}` }, 'Remove');

function shadowRow({ version, percent: share }, versions) {
  return h('div', { class: 'line' }, versionSelect(version, versions),
    field('Percent', 'percent', share, { type: 'number', min: 0, max: 100, step: 'any' }), remover('shadow'));
}

function matchRow(match, versions) {
  const by = match.cookie ? 'cookie' : 'header';
  return h('div', { class: 'line' },
    h('label', {}, 'By ', h('select', { 'data-field': 'by' }, ['header', 'cookie'].map((b) => h('option', { value: b, selected: b === by }, b)))),
    field('Name', 'name', match[by] ?? ''), field('Equals', 'equals', match.equals), versionSelect(match.version, versions), remover('match'));
}

function readExtras() {
  const value = (row, key) => row.querySelector(`[data-field=${key}]`).value;
  const by = $('sticky-by').value;
  const sticky = by ? { by } : null;
  if (sticky && takesName(by) && $('sticky-name').value.trim()) sticky.name = $('sticky-name').value.trim();
  if (sticky && by !== 'none' && $('sticky-salt').value.trim()) sticky.salt = $('sticky-salt').value.trim();
  return {
    sticky,
    shadow: [...$('shadows').children].map((row) => ({ version: Number(value(row, 'version')), percent: Number(value(row, 'percent')) })),
    match: [...$('matches').children].map((row) => ({
      [value(row, 'by')]: value(row, 'name').trim(), equals: value(row, 'equals'), version: Number(value(row, 'version')),
    })),
  };
}

const takesName = (by) => ['header', 'cookie', 'query'].includes(by);

function showStickyFields() {
  const by = $('sticky-by').value;
  $('sticky-name').parentElement.hidden = !takesName(by);
  $('sticky-salt').parentElement.hidden = !by || by === 'none';
}

function onExtras() {
  const draft = currentDraft();
  if (!draft) return;
  draft.extras = readExtras();
  $('extras').dataset.shown = JSON.stringify([state.model, draft.extras, shownVersions()]);
  showStickyFields();
  renderButtons(draft);
}

const shownVersions = () => [...$('sliders').children].map((row) => Number(row.dataset.version));

function onExtrasClick({ target }) {
  if (target.dataset.add) {
    const versions = shownVersions();
    const version = versions[versions.length - 1];
    if (version === undefined) return;
    const row = target.dataset.add === 'shadows' ? shadowRow({ version, percent: 10 }, versions) : matchRow({ equals: '', version }, versions);
    $(target.dataset.add).append(row);
    row.querySelector('select').focus();
    onExtras();
  } else if ('remove' in target.dataset) {
    const home = target.closest('fieldset').querySelector('[data-add]');
    target.closest('.line').remove();
    home.focus();
    onExtras();
  }
}

// ---- Wiring ----

function onHash() {
  if (!location.hash.startsWith('#/')) return; // the skip link
  endDrag();
  poll();
}

function onVisible() {
  if (!document.hidden && $('lock').hidden) poll();
}

function onUnload(event) {
  if ([...state.drafts.values()].some(changed)) event.preventDefault();
}

function wire() {
  const on = (id, kind, handler) => $(id).addEventListener(kind, handler);
  on('lock', 'submit', useToken);
  on('forget', 'click', forgetToken);
  on('dismiss', 'click', hush);
  on('editor', 'submit', publish);
  on('discard', 'click', discard);
  on('bring-back', 'click', bringBack);
  on('latest', 'change', () => {
    const draft = currentDraft();
    draft.latest = $('latest').checked;
    renderDraft(draft);
  });
  on('sliders', 'input', onSlide);
  on('sliders', 'change', onExact);
  on('editor', 'keydown', onEditorKey);
  on('sliders', 'pointerup', endDrag);
  on('extras', 'input', onExtras);
  on('extras', 'click', onExtrasClick);
  on('reason', 'input', () => state.reasons.set(state.model, $('reason').value));
  on('rollback', 'click', rollBack);
  on('history', 'click', rollBack);
  on('steer', 'click', ({ target }) => target.dataset.steer && steer(target.dataset.steer));
  on('start', 'submit', startRollout);
  on('author', 'input', () => localStorage.setItem('author', $('author').value));
  $('author').value = localStorage.getItem('author') ?? '';
  window.addEventListener('hashchange', onHash);
  window.addEventListener('beforeunload', onUnload);
  document.addEventListener('visibilitychange', onVisible);
}

wire();
poll();
