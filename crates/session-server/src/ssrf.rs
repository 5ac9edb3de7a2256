//! Which addresses webhook agents may have.
