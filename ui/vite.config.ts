import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** The policy of the desktop window (`tauri.conf.json`), so that a browser preview breaks where the app would. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self' ipc: http://ipc.localhost",
  "base-uri 'none'",
  "form-action 'none'",
  "object-src 'none'",
].join('; ');

/** KaTeX's fonts in one format: every web view we draw in reads WOFF2. */
const woff2Only: Plugin = {
  name: 'woff2-only',
  enforce: 'pre',
  transform(code, id) {
    if (!id.includes('/katex/dist/')) return null;
    return { code: code.replaceAll(/,url\([^)]+\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)/g, ''), map: null };
  },
};

export default defineConfig(({ mode }) => ({
  plugins: [svelte(), woff2Only],
  // The scripted backend is for browsers and tests; the app's build leaves it out.
  define: { __SCRIPTED__: JSON.stringify(mode !== 'production') },
  clearScreen: false,
  server: { host: '127.0.0.1', port: 5183, strictPort: true },
  preview: {
    host: '127.0.0.1',
    port: 5184,
    strictPort: true,
    headers: { 'Content-Security-Policy': CONTENT_SECURITY_POLICY },
  },
  build: {
    outDir: mode === 'browser' ? 'dist-browser' : 'dist',
    emptyOutDir: true,
    // The oldest web views we draw in: WebKitGTK 2.40 and WKWebView of macOS 12.
    target: ['es2021', 'safari15'],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  resolve: process.env['VITEST'] === undefined ? {} : { conditions: ['browser'] },
  test: {
    include: ['src/**/*.test.ts'],
    // Tests that need a page say so in their first line.
    environment: 'node',
    pool: 'threads',
  },
}));
