/// <reference types="svelte" />
/// <reference types="vite/client" />

/** True where the scripted backend is compiled in (browser, tests), false in the app's build. */
declare const __SCRIPTED__: boolean;
