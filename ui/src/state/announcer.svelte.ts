/** The one polite live region: what a person who does not see the window needs to hear, and nothing per token. */
export class Announcer {
  text = $state('');
  #turn = false;

  say(text: string): void {
    // The same words twice in a row are read twice only if the text differs.
    this.#turn = !this.#turn;
    this.text = this.#turn ? text : `${text}\u00a0`;
  }
}
