/** Letters of a long text that are drawn at first. */
export const FIRST_PART = 4_000;
/** Letters that are drawn more each time a person asks. */
export const NEXT_PART = 20_000;
/** Fields of a payload that are drawn at first. */
export const FIRST_FIELDS = 40;
