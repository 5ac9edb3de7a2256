import { describe, expect, it } from 'vitest';

import { attach, isLongPaste, isTextFile, MOST_BYTES, NotAttached, textFile, textOf } from './attachments';

describe('an attachment', () => {
  it.each([
    ['a text', textFile('grüß\nתודה', 'notes.txt'), 'text/plain', true],
    ['a text without a type', new File(['fn main() {}'], 'main.rs'), 'text/plain', true],
    ['a picture', new File([new Uint8Array([0x89, 0x50, 0xff])], 'a.png', { type: 'image/png' }), 'image/png', false],
    ['bytes without a type', new File([new Uint8Array([0, 0xff])], 'a.bin'), 'application/octet-stream', false],
  ])('carries the bytes of %s', async (_, file, mediaType, isText) => {
    const part = await attach(file);
    expect(part).toMatchObject({ mediaType, filename: file.name });
    expect(isTextFile(part)).toBe(isText);
    if (isText) expect(textOf(part)).toBe(await file.text());
    expect(Buffer.from(part.url.split(',')[1] ?? '', 'base64')).toEqual(Buffer.from(await file.arrayBuffer()));
  });

  it('that is too large is refused by name, with what there is room for', async () => {
    const file = new File([new Uint8Array(MOST_BYTES + 1)], 'big.zip');
    await expect(attach(file)).rejects.toThrow(NotAttached);
    await expect(attach(file)).rejects.toThrow(/big\.zip.* 256 KB/);
    await expect(attach(new File([new Uint8Array(MOST_BYTES)], 'fits.zip'))).resolves.toMatchObject({ filename: 'fits.zip' });
  });

  it('is what a long paste becomes', () => {
    expect(isLongPaste('word '.repeat(800))).toBe(false);
    expect(isLongPaste('word '.repeat(801))).toBe(true);
    expect(isLongPaste('a\n'.repeat(59))).toBe(false);
    expect(isLongPaste('a\n'.repeat(60))).toBe(true);
  });
});
