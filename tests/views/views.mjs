// Draws every view of the page in Chromium, on the scripted backend, in every look, and asks axe about each.
//
// Usage: node views.mjs PAGE FOLDER [NAME…]. PAGE is the built page, FOLDER takes the pictures and an index.html of
// them; names choose views. What axe finds, what the page's policy refuses and what scripts throw is a failure.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateSync } from 'node:zlib';

import axe from 'axe-core';
import { chromium } from 'playwright-core';

const [page = '', folder = '', ...wanted] = process.argv.slice(2);
const root = fileURLToPath(new URL('../..', import.meta.url));
/** The policy of the app's window: what breaks there breaks here. */
const policy = JSON.parse(readFileSync(join(root, 'tauri.conf.json'), 'utf8')).app.security.csp;

const at = (id) => `[data-testid="${id}"]`;
const wide = { width: 1280, height: 860 };
const narrow = { width: 420, height: 860 };

/** Views: a scene, and what a person does in it. */
const views = [
  { name: 'first', scene: 'first' },
  { name: 'session', scene: 'chat' },
  { name: 'session-top', scene: 'chat', act: (p) => p.locator('[data-rows]').evaluate((rows) => rows.closest('[data-zone=log]')?.scrollTo(0, 0)) },
  { name: 'approval', scene: 'approval' },
  { name: 'work', scene: 'work' },
  { name: 'people', scene: 'people' },
  { name: 'odd', scene: 'odd' },
  { name: 'offline', scene: 'offline' },
  { name: 'errors', scene: 'errors' },
  { name: 'notices', scene: 'notices' },
  { name: 'servers', scene: 'servers' },
  { name: 'gone', scene: 'gone' },
  { name: 'many', scene: 'many' },
  { name: 'new-session', scene: 'chat', act: (p) => p.keyboard.press('Control+n') },
  { name: 'inspector', scene: 'work', act: (p) => p.keyboard.press('Control+i') },
  { name: 'sidebar', scene: 'chat', only: 'narrow', act: (p) => p.keyboard.press('Control+b') },
  { name: 'inbox', scene: 'work', act: (p) => p.keyboard.press('Control+Shift+a') },
  { name: 'palette', scene: 'chat', act: (p) => p.keyboard.press('Control+k') },
  { name: 'palette-found', scene: 'chat', act: async (p) => (await p.keyboard.press('Control+k'), p.keyboard.type('migration')) },
  { name: 'find', scene: 'chat', act: async (p) => (await p.keyboard.press('Control+f'), p.keyboard.type('offset')) },
  { name: 'settings', scene: 'chat', act: (p) => p.keyboard.press('Control+,') },
  { name: 'settings-all', scene: 'chat', tall: true, act: (p) => p.keyboard.press('Control+,') },
  { name: 'shortcuts', scene: 'chat', act: (p) => p.keyboard.press('Control+/') },
  { name: 'delete', scene: 'chat', act: async (p) => (await command(p, 'delete'), p.locator(at('delete-confirm')).waitFor()) },
  { name: 'add-server', scene: 'servers', act: async (p) => (await command(p, 'server'), p.locator(at('add-server-form')).waitFor()) },
  { name: 'mention', scene: 'people', act: (p) => p.locator(at('composer')).pressSequentially('@') },
  { name: 'attached', scene: 'chat', act: attach },
  { name: 'command', scene: 'chat', act: (p) => p.locator(at('composer')).pressSequentially('/') },
  { name: 'queue', scene: 'chat', act: async (p) => (await say(p, 'long 500'), p.locator(at('stop')).waitFor(), say(p, 'And then?')) },
];

/** How each view is drawn. */
const looks = [
  { name: 'light', viewport: wide },
  { name: 'dark', viewport: wide, colorScheme: 'dark' },
  { name: 'narrow', viewport: narrow },
  { name: 'german', viewport: wide, locale: 'de-DE' },
  { name: 'rtl', viewport: wide, rtl: true },
  { name: 'large', viewport: wide, stored: { textSize: 200 } },
  { name: 'contrast', viewport: wide, contrast: 'more' },
];

async function command(p, words) {
  await p.keyboard.press('Control+k');
  await p.locator(at('search')).pressSequentially(words);
  await p.locator('[role=option]').filter({ hasText: '…' }).first().click();
}

async function say(p, words) {
  await p.locator(at('composer')).fill(words);
  await p.keyboard.press('Enter');
}

/** A text, and a picture that is too large until the page makes it smaller. */
async function attach(p) {
  await p.locator(at('file-picker')).setInputFiles([
    { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('one\ntwo\n') },
    { name: 'noise.png', mimeType: 'image/png', buffer: noise(700) },
  ]);
  await p.locator(at('attached-file')).nth(1).waitFor();
  const bytes = await p.locator(`${at('attached-file')} img`).evaluate((image) => image.src.length * 0.75);
  if (bytes > 257 * 1024) throw new Error(`a picture of ${bytes} bytes is attached`);
}

/** A PNG of `side` × `side` px in grey noise: hardly smaller than its pixels. */
function noise(side) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length, 0);
    ends.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  head.set([8, 0], 8);
  const rows = Buffer.concat(Array.from({ length: side }, () => Buffer.concat([Buffer.from([0]), randomBytes(side)])));
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

function crc32(bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (0xedb88320 & -(sum & 1));
  }
  return ~sum >>> 0;
}

const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.woff2': 'font/woff2' };

function serve() {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, 'http://page').pathname).replace(/^\/$/, '/index.html');
    if (path === '/favicon.ico') return response.writeHead(204).end();
    try {
      const body = readFileSync(join(page, path));
      response.writeHead(200, { 'Content-Type': types[extname(path)] ?? 'application/octet-stream', 'Content-Security-Policy': policy });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** Waits until nothing has changed in the document for a while. */
function settled(p) {
  return p.evaluate(
    () =>
      new Promise((resolve) => {
        let timer;
        const wait = () => {
          clearTimeout(timer);
          timer = setTimeout(done, 150);
        };
        const watch = new MutationObserver(wait);
        const end = setTimeout(() => done(), 2_000);
        const done = () => {
          watch.disconnect();
          clearTimeout(timer);
          clearTimeout(end);
          resolve();
        };
        watch.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
        wait();
      }),
  );
}

async function draw(browser, base, view, look) {
  const context = await browser.newContext({
    viewport: view.tall === true ? { ...look.viewport, height: 2_800 } : look.viewport,
    colorScheme: look.colorScheme ?? 'light',
    contrast: look.contrast ?? 'no-preference',
    reducedMotion: 'reduce',
    locale: look.locale ?? 'en-GB',
    timezoneId: 'Europe/Zagreb',
  });
  const found = [];
  const p = await context.newPage();
  p.on('pageerror', (error) => found.push(`a script threw: ${error.message}`));
  p.on('console', (message) => {
    if (message.type() === 'error') found.push(`the console says: ${message.text()}`);
  });
  await p.addInitScript(
    ({ stored, rtl }) => {
      for (const [key, value] of Object.entries(stored)) localStorage.setItem(`threadkeep.${key}`, JSON.stringify(value));
      if (rtl) document.addEventListener('readystatechange', () => (document.documentElement.dir = 'rtl'));
    },
    { stored: look.stored ?? {}, rtl: look.rtl === true },
  );
  await p.goto(`${base}/?scene=${view.scene}`);
  await p.locator(at('app')).waitFor();
  await settled(p);
  await view.act?.(p);
  await settled(p);
  const file = `${view.name}.${look.name}.png`;
  await p.screenshot({ path: join(folder, file) });
  await p.evaluate(axe.source);
  const { violations } = await p.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  for (const { id, impact, help, nodes } of violations) {
    found.push(`axe, ${impact}: ${help} (${id})\n      ${nodes.slice(0, 3).map(({ target, any }) => `${target.join(' ')}  ${any[0]?.message ?? ''}`).join('\n      ')}`);
  }
  const wider = await p.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wider > 0) found.push(`the page is ${wider} px wider than its window`);
  await context.close();
  return { file, found };
}

mkdirSync(folder, { recursive: true });
const server = await serve();
const base = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
let bad = 0;
const chosen = (name) => wanted.length === 0 || wanted.includes(name);
const drawn = [];
for (const view of views) {
  for (const look of looks) {
    if (view.only !== undefined && view.only !== look.name) continue;
    if (!(chosen(view.name) || chosen(look.name) || chosen(`${view.name}.${look.name}`))) continue;
    try {
      const { file, found } = await draw(browser, base, view, look);
      drawn.push(file);
      for (const what of found) console.log(`   ${file}: ${what}`);
      bad += found.length;
    } catch (error) {
      bad += 1;
      console.log(`   ${view.name}.${look.name}: ${error.message}`);
    }
  }
}
await browser.close();
server.close();
writeFileSync(
  join(folder, 'index.html'),
  `<!doctype html><meta charset="utf-8"><title>Views</title><style>body{font:14px sans-serif;display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}img{height:400px;border:1px solid #888}</style>${drawn
    .map((file) => `<figure><a href="${file}"><img src="${file}" alt=""></a><figcaption>${file}</figcaption></figure>`)
    .join('')}`,
);
console.log(`   ${drawn.length} pictures in ${folder}, ${bad} findings`);
process.exitCode = bad === 0 ? 0 : 1;
