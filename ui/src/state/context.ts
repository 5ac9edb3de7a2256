import { createContext } from 'svelte';

import type { AppState } from './app.svelte';

/** The window's state, for whatever is drawn in it. */
export const [useApp, provideApp] = createContext<AppState>();
