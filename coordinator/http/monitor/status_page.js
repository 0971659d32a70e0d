// The live part of the status page: polls the JSON of status_json.h, draws it, and tries prompts.
"use strict";
// All that comes from the server is put into the page as text (textContent), never as HTML.
const $ = (id) => document.getElementById(id);
const POLL_MS = 1000;
const HISTORY = 90;
const reduced = (text, length) => (text.length > length ? text.slice(0, length - 1) + "\u2026" : text);

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function count(n) {
  if (n >= 1e9) return (n / 1e9).toFixed(2) + " G";
  if (n >= 1e6) return (n / 1e6).toFixed(2) + " M";
  if (n >= 1e4) return (n / 1e3).toFixed(1) + " k";
  return Math.round(n).toLocaleString("en");
}

function milliseconds(seconds) {
  const ms = seconds * 1e3;
  if (ms === 0) return ["0", "ms"];
  if (ms >= 10000) return [(ms / 1e3).toFixed(1), "s"];
  return [ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2), "ms"];
}

function percent(share) {
  return (share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0);
}

function age(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [size, name] of units) if (seconds >= size) return Math.floor(seconds / size) + " " + name;
  return Math.floor(seconds) + " s";
}

// Sharp on every screen: sizes the canvas to its pixels, draws in CSS pixels.
function context(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  return [c, width, height];
}

// ---- Tiles

const trends = new Map();  // id -> last values
const tiles = new Map();

function tile(id, name, value, unit, note, trend) {
  let t = tiles.get(id);
  if (!t) {
    const box = element("div", "tile");
    t = {value: element("dd"), note: element("dd", "note"), canvas: null};
    box.append(element("dt", "", name), t.value, t.note);
    if (trend !== undefined) {
      t.canvas = element("canvas");
      t.canvas.setAttribute("aria-hidden", "true");
      box.append(t.canvas);
    }
    $("tiles").append(box);
    tiles.set(id, t);
  }
  t.value.textContent = value;
  if (unit) t.value.append(" ", element("small", "", unit));
  t.note.textContent = note || "\u00a0";
  if (trend !== undefined) {
    const values = trends.get(id) || [];
    values.push(trend);
    if (values.length > HISTORY) values.shift();
    trends.set(id, values);
    sparkline(t.canvas, values);
  }
}

function sparkline(canvas, values) {
  const [c, width, height] = context(canvas);
  const top = Math.max(...values, 1e-9);
  const x = (i) => width - (values.length - 1 - i) * (width / (HISTORY - 1));
  const y = (v) => height - 1 - (v / top) * (height - 4);
  c.beginPath();
  values.forEach((v, i) => (i ? c.lineTo(x(i), y(v)) : c.moveTo(x(i), y(v))));
  c.strokeStyle = color("accent");
  c.lineWidth = 1.5;
  c.stroke();
  c.lineTo(width, height);
  c.lineTo(x(0), height);
  c.globalAlpha = 0.18;
  c.fillStyle = color("accent");
  c.fill();
  c.globalAlpha = 1;
}

function showTiles(s) {
  tile("running", "Running", count(s.running), "", s.running === 1 ? "request" : "requests", s.running);
  tile("waiting", "Waiting", count(s.waiting), "",
       s.waiting ? count(s.waiting_tokens) + " tokens, oldest " + age(s.oldest_waiting_seconds) : "nobody", s.waiting);
  tile("rate", "Generated", count(s.tokens_per_second), "tokens/s", count(s.generation_tokens) + " since start",
       s.tokens_per_second);
  const used = Math.max(0, ...s.replicas.map((r) => r.kv_usage));
  tile("kv", "KV blocks in use", percent(used), "%", s.replicas.length > 1 ? "fullest replica" : "", used);
  latency("first", "Time to first token", s.first_token);
  latency("token", "Time per token", s.token);
  tile("hits", "Prefix cache", s.cache_queries ? percent(s.cache_hits / s.cache_queries) : "\u2013",
       s.cache_queries ? "%" : "", s.cache_queries ? count(s.cache_hits) + " tokens found" : "nothing looked up yet");
  const mbu = s.use.bandwidth;
  if (mbu !== null) tile("mbu", "Memory bandwidth (MBU)", percent(mbu), "%", count(s.read_gbs) + " GB/s at least", mbu);
  else tile("mbu", "Memory traffic", s.read_gbs ? s.read_gbs.toFixed(1) : "\u2013", s.read_gbs ? "GB/s" : "",
            "share needs --peak_bandwidth_gbs", s.read_gbs);
  if (s.use.compute !== null) tile("mfu", "Compute (MFU)", percent(s.use.compute), "%", "matrix products", s.use.compute);
  tile("preempted", "Preempted", count(s.swaps + s.recomputes), "",
       count(s.swaps) + " swapped, " + count(s.recomputes) + " recomputed");
}

function latency(id, name, p) {
  if (!p) return;
  if (!p.count) return tile(id, name, "\u2013", "", "none in the last minute");
  const [value, unit] = milliseconds(p.p50);
  tile(id, name, value, unit, "p99 " + milliseconds(p.p99).join(" ") + ", last minute");
}

// ---- Replicas

const replicas = [];

function legend(names) {
  const list = element("ul", "legend");
  const values = {};
  for (const [key, name] of names) {
    const item = element("li");
    item.append(element("i", "k-" + key), name + " ", (values[key] = element("span")));
    list.append(item);
  }
  return [list, values];
}

function makeReplica(index, several) {
  const r = {last: null, several};
  const steps = element("section", "card");
  const stepsHead = element("div", "head");
  stepsHead.append(element("h2", "", several ? "Replica " + index + ": steps" : "Steps"), (r.stepFacts = element("span", "muted small")));
  r.steps = element("canvas", "steps");
  r.steps.setAttribute("role", "img");
  const [stepLegend] = legend([["shared", "with prefill"], ["used", "decode only"]]);
  steps.append(stepsHead, r.steps, stepLegend);

  const blocks = element("section", "card");
  const head = element("div", "head");
  r.pill = element("span", "pill");
  head.append(element("h2", "", several ? "Replica " + index + ": KV blocks" : "KV blocks"), r.pill, (r.facts = element("span", "muted small")));
  r.map = element("canvas");
  r.map.setAttribute("role", "img");
  const [list, values] = legend([["shared", "shared"], ["used", "used"], ["cached", "cached"], ["free", "free"], ["swapped", "swapped to host"]]);
  r.counts = values;
  const scroll = element("div", "scroll");
  const table = element("table");
  const thead = element("thead"), row = element("tr");
  for (const [name, number] of [["Rank"], ["Backend"], ["Used", 1], ["Blocks", 1], ["Host", 1], ["Last step", 1]]) {
    const th = element("th", number ? "number" : "", name);
    th.scope = "col";
    row.append(th);
  }
  thead.append(row);
  table.append(thead, (r.ranks = element("tbody")));
  scroll.append(table);
  blocks.append(head, r.map, list, scroll);

  r.hover = -1;
  r.steps.addEventListener("pointermove", (event) => { r.hover = event.offsetX; drawSteps(r); });
  r.steps.addEventListener("pointerleave", () => { r.hover = -1; drawSteps(r); });
  $("replicas").append(steps, blocks);
  return r;
}

function drawSteps(r) {
  const [c, width, height] = context(r.steps);
  const list = r.last.steps;
  const left = 54, bottom = 16, slots = 120;
  const top = Math.max(...list.map((s) => s[1]), 0.001) * 1.08;
  const plotHeight = height - bottom - 6;
  const y = (ms) => 6 + plotHeight * (1 - ms / top);
  c.font = "11px system-ui, sans-serif";
  c.textAlign = "right";
  c.textBaseline = "middle";
  for (const share of [0, 0.5, 1]) {
    const ms = top * share;
    c.fillStyle = color("line");
    c.fillRect(left, Math.round(y(ms)), width - left, 1);
    c.fillStyle = color("muted");
    c.fillText(milliseconds(ms / 1e3).join(" "), left - 6, y(ms));
  }
  const barWidth = (width - left) / slots;
  let pointed = null;
  list.forEach((s, i) => {
    const x = width - (list.length - i) * barWidth;
    const over = r.hover >= x && r.hover < x + barWidth;
    if (over) pointed = s;
    c.fillStyle = color(s[2] > s[3] ? "shared" : "used");
    c.globalAlpha = r.hover < 0 || over ? 1 : 0.45;
    c.fillRect(x + 0.5, y(s[1]), Math.max(1, barWidth - 1), Math.max(1, y(0) - y(s[1])));
  });
  c.globalAlpha = 1;
  c.fillStyle = color("muted");
  c.textAlign = "left";
  c.fillText(list.length ? "step " + list[0][0] : "", left, height - 6);
  c.textAlign = "right";
  c.fillText(list.length ? "step " + list[list.length - 1][0] : "", width, height - 6);
  const summary = list.length
    ? "median " + milliseconds(r.last.step_ms / 1e3).join(" ") + ", last " + list.length + " steps"
    : "no step yet";
  r.stepFacts.textContent = pointed
    ? "step " + pointed[0] + ": " + milliseconds(pointed[1] / 1e3).join(" ") + ", " + pointed[2] + " tokens of " + pointed[3] + " sequences"
    : summary;
  r.steps.setAttribute("aria-label", "Time of the last steps: " + summary);
}

// A cell is filled from below by what its blocks are in use for.
function drawMap(r) {
  const map = r.last.map;
  const device = map.used.length, host = map.swapped.length;
  const width = r.map.clientWidth;
  const columns = Math.max(10, Math.min(50, Math.floor(width / 15)));
  const size = width / columns;
  const rows = Math.ceil(device / columns), hostRows = Math.ceil(host / columns);
  const gap = host ? 10 : 0;
  const height = Math.max(1, rows + hostRows) * size + gap;
  r.map.style.height = height + "px";
  const [c] = context(r.map);
  const draw = (i, offset, parts, blocks) => {
    const x = (i % columns) * size, y = Math.floor(i / columns) * size + offset, side = size - 2;
    c.fillStyle = color("free");
    c.fillRect(x, y, side, side);
    let from = y + side;
    for (const [name, n] of parts) {
      if (!n) continue;
      const part = side * Math.min(1, n / blocks);
      c.fillStyle = color(name);
      c.fillRect(x, from - part, side, part);
      from -= part;
    }
  };
  for (let i = 0; i < device; ++i) {
    const blocks = Math.min(map.per_cell, map.blocks - i * map.per_cell);
    draw(i, 0, [["shared", map.shared[i]], ["used", map.used[i]], ["cached", map.cached[i]]], blocks);
  }
  for (let i = 0; i < host; ++i) {
    const blocks = Math.min(map.host_per_cell, map.host_blocks - i * map.host_per_cell);
    draw(i, rows * size + gap, [["swapped", map.swapped[i]]], blocks);
  }
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  const totals = {shared: sum(map.shared), used: sum(map.used), cached: sum(map.cached), swapped: sum(map.swapped)};
  totals.free = map.blocks - totals.shared - totals.used - totals.cached;
  for (const key of Object.keys(totals)) r.counts[key].textContent = count(totals[key]);
  r.map.setAttribute("aria-label", "Of " + map.blocks + " KV blocks " + totals.shared + " are shared, " + totals.used + " used, " +
                     totals.cached + " cached and " + totals.free + " free; " + totals.swapped + " blocks are swapped to the host");
}

function showReplica(r, data, blockSize) {
  r.last = data;
  r.pill.className = "pill " + (data.formed ? "good" : "bad");
  r.pill.textContent = data.formed ? data.ranks.length + (data.ranks.length === 1 ? " rank up" : " ranks up") : "forming";
  const lost = data.recoveries ? ", " + data.recoveries + (data.recoveries === 1 ? " recovery" : " recoveries") : "";
  const cell = data.map.per_cell > 1 ? ", " + data.map.per_cell + " blocks a cell" : "";
  r.facts.textContent = "epoch " + data.epoch + lost + (blockSize ? ", " + blockSize + " tokens a block" : "") + cell;
  drawMap(r);
  drawSteps(r);
  while (r.ranks.children.length > data.ranks.length) r.ranks.lastChild.remove();
  data.ranks.forEach((rank, i) => {
    let row = r.ranks.children[i];
    if (!row) {
      row = element("tr");
      for (let k = 0; k < 6; ++k) row.append(element("td", k > 1 ? "number" : ""));
      r.ranks.append(row);
    }
    const cells = [i, rank.backend || "\u2013", count(rank.used), count(rank.total),
                   rank.host_total ? count(rank.host_used) + " / " + count(rank.host_total) : "\u2013", milliseconds(rank.exec_ms / 1e3).join(" ")];
    cells.forEach((text, k) => { row.children[k].textContent = text; });
  });
}

// ---- Polling

function headers() {
  const key = $("key").value.trim();
  return key ? {Authorization: "Bearer " + key} : {};
}

function banner(text) {
  $("banner").hidden = !text;
  $("banner").textContent = text;
}

function show(s) {
  document.title = "Quire \u00b7 " + s.model;
  $("model").textContent = s.model;
  $("ready").textContent = s.ready ? "ready" : "not ready";
  $("ready").className = "pill " + (s.ready ? "good" : "bad");
  $("facts").textContent = "version " + s.version + ", up " + age(s.uptime_seconds);
  const chat = $("mode").options[0];
  if (!s.chat && !chat.disabled) {
    chat.disabled = true;
    $("mode").value = "text";
  }
  showTiles(s);
  s.replicas.forEach((data, i) => {
    if (!replicas[i]) replicas[i] = makeReplica(i, s.num_replicas > 1);
    showReplica(replicas[i], data, s.block_size);
  });
}

let failures = 0;

async function poll() {
  let wait = POLL_MS;
  if (!document.hidden) {
    try {
      const response = await fetch("status", {headers: headers(), cache: "no-store"});
      if (response.status === 401 || response.status === 403) {
        $("ready").textContent = "key needed";
        $("ready").className = "pill";
        banner("This server asks for an API key. Type it below to see how it is doing.");
      } else if (!response.ok) {
        throw new Error("status " + response.status);
      } else {
        show(await response.json());
        banner("");
      }
      failures = 0;
    } catch (error) {
      failures += 1;
      wait = Math.min(10000, POLL_MS * 2 ** failures);
      $("ready").textContent = "no answer";
      $("ready").className = "pill bad";
      banner("The server does not answer. Trying again.");
    }
  }
  setTimeout(poll, wait);
}

// ---- Trying a prompt

let running = null;  // AbortController

// The data of whole events, and what is left of the last one.
function splitEvents(buffer) {
  const events = [];
  let end;
  while ((end = buffer.indexOf("\n\n")) >= 0) {
    for (const line of buffer.slice(0, end).split("\n")) if (line.startsWith("data:")) events.push(line.slice(5).trim());
    buffer = buffer.slice(end + 2);
  }
  return [events, buffer];
}

async function send() {
  const output = $("output");
  output.className = "output";
  output.textContent = "";
  $("answer-facts").textContent = "";
  running = new AbortController();
  $("send").disabled = true;
  $("stop").disabled = false;
  const chat = $("mode").value === "chat";
  const body = {model: $("model").textContent, stream: true, stream_options: {include_usage: true},
                max_tokens: Number($("max-tokens").value) || 128, temperature: Number($("temperature").value)};
  if (chat) body.messages = [{role: "user", content: $("prompt").value}];
  else body.prompt = $("prompt").value;
  const start = performance.now();
  let first = 0, last = start, tokens = 0, finish = "";
  const facts = () => {
    const parts = [];
    if (first) parts.push("first token " + milliseconds((first - start) / 1e3).join(" "));
    if (tokens) parts.push(tokens + " tokens");
    if (tokens > 1 && last > first) parts.push(((tokens - 1) * 1e3 / (last - first)).toFixed(1) + " tokens/s");
    if (finish) parts.push("ended by " + finish);
    $("answer-facts").textContent = parts.join(", ");
  };
  try {
    const response = await fetch(chat ? "v1/chat/completions" : "v1/completions", {
      method: "POST", signal: running.signal, body: JSON.stringify(body),
      headers: {"Content-Type": "application/json", ...headers()},
    });
    if (!response.ok) {
      let message = "status " + response.status;
      try { message = (await response.json()).error.message || message; } catch (e) { /* not OpenAI's shape */ }
      throw new Error(message);
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) break;
      let events;
      [events, rest] = splitEvents(rest + value);
      for (const data of events) {
        if (data === "[DONE]") continue;
        const event = JSON.parse(data);
        if (event.error) throw new Error(event.error.message || "the server ended the answer");
        if (event.usage) tokens = event.usage.completion_tokens;
        const choice = event.choices && event.choices[0];
        if (!choice) continue;
        const text = chat ? (choice.delta && choice.delta.content) || "" : choice.text || "";
        if (choice.finish_reason) finish = choice.finish_reason;
        if (!text) continue;
        last = performance.now();
        if (!first) first = last;
        const follows = output.scrollTop + output.clientHeight >= output.scrollHeight - 4;
        output.append(text);
        if (follows) output.scrollTop = output.scrollHeight;
      }
      facts();
    }
    facts();
  } catch (error) {
    if (error.name === "AbortError") finish = "you";
    else {
      output.className = "output error";
      output.append((output.textContent ? "\n" : "") + reduced(String(error.message || error), 2000));
    }
    facts();
  }
  running = null;
  $("send").disabled = false;
  $("stop").disabled = true;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) send();
});
$("stop").addEventListener("click", () => { if (running) running.abort(); });
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
const redraw = () => replicas.forEach((r) => { drawMap(r); drawSteps(r); });
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
poll();
