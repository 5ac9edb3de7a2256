/** The words for a person who does not see the window: one polite region, one for failures, and nothing per token. */
export class Announcer {
  /** Read when there is time. */
  text = $state('');
  /** Read at once. */
  alert = $state('');
  #turn = false;

  say(text: string): void {
    this.text = this.#again(text);
  }

  /** Something failed. */
  warn(text: string): void {
    this.alert = this.#again(text);
  }

  /** The same words twice in a row are read twice only if the text differs. */
  #again(text: string): string {
    this.#turn = !this.#turn;
    return this.#turn ? text : `${text}\u00a0`;
  }
}
