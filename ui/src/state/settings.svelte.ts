import type { Backend } from '../ipc/backend';
import type { ModelCheck, Settings } from '../ipc/contract';
import { agentChoices, type AgentKind } from './agents';

/** The settings as they are stored, and the agent that the next new session talks to. */
export class SettingsState {
  value = $state.raw<Settings>() as Settings;
  newAgent = $state<AgentKind>('demo');

  readonly #backend: Backend;

  constructor(backend: Backend, value: Settings) {
    this.#backend = backend;
    this.value = value;
    this.newAgent = value.defaultAgent;
  }

  readonly choices = $derived(agentChoices(this.value));

  /** What the agent of a new session still needs, in words; null when it can answer. */
  readonly missing: string | null = $derived(this.choices.find(({ kind }) => kind === this.newAgent)?.missing ?? null);

  /** Reads them anew: the first paint knows nothing of the keychain. */
  async refresh(): Promise<void> {
    this.value = await this.#backend.getSettings();
  }

  async save(settings: Settings): Promise<void> {
    this.value = await this.#backend.setSettings(settings);
  }

  /** Whether a session raises no notifications. */
  isMuted(sessionId: string): boolean {
    return this.value.mutedSessions.includes(sessionId);
  }

  async toggleMuted(sessionId: string): Promise<void> {
    const others = this.value.mutedSessions.filter((id) => id !== sessionId);
    const mutedSessions = this.isMuted(sessionId) ? others : [...others, sessionId];
    await this.save({ ...this.value, mutedSessions });
  }

  async saveModelKey(key: string | null): Promise<void> {
    await this.#backend.setModelKey(key);
    await this.refresh();
  }

  /**
   * Asks the model as `draft` names it. The host checks what it has stored, so the model and the key are lent to it for
   * that long; afterwards everything is as it was.
   */
  async check(draft: Pick<Settings, 'modelBaseUrl' | 'modelName'>, key: string): Promise<ModelCheck> {
    const before = this.value;
    if (key !== '' && before.hasModelKey) {
      return { ok: false, message: 'The new key is checked once it is saved: it replaces the one in the keychain, which nobody can read back.' };
    }
    try {
      if (key !== '') await this.#backend.setModelKey(key);
      await this.#backend.setSettings({ ...before, modelBaseUrl: draft.modelBaseUrl, modelName: draft.modelName });
      return await this.#backend.checkModel();
    } finally {
      await this.#backend.setSettings(before);
      if (key !== '') await this.#backend.setModelKey(null);
    }
  }
}
