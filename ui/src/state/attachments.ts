import type { FilePart } from '../ipc/contract';

/** Bytes of one file: it travels inside its message, which everybody in the session keeps. */
export const MOST_BYTES = 256 * 1024;
/** Files of one message. */
export const MOST_FILES = 8;
/** A paste that is longer than this, letters or lines, is a file and no message. */
const LONG_PASTE = { letters: 4_000, lines: 60 };

/** Why a file cannot be attached, in words for the person. */
export class NotAttached extends Error {
  override readonly name = 'NotAttached';
}

export function isLongPaste(text: string): boolean {
  return text.length > LONG_PASTE.letters || text.split('\n', LONG_PASTE.lines + 1).length > LONG_PASTE.lines;
}

/** A text as a file. */
export function textFile(text: string, name: string): File {
  return new File([text], name, { type: 'text/plain' });
}

/** A file with its bytes in its address. A picture that is too large is made smaller. */
export async function attach(file: File): Promise<FilePart> {
  const fits = file.size <= MOST_BYTES ? file : await smaller(file);
  const bytes = new Uint8Array(await fits.arrayBuffer());
  const mediaType = fits.type || (isText(bytes) ? 'text/plain' : 'application/octet-stream');
  return { url: `data:${mediaType};base64,${base64(bytes)}`, mediaType, filename: file.name || 'file' };
}

/** The words of a text that is attached. */
export function textOf({ url }: FilePart): string {
  const body = atob(url.slice(url.indexOf(',') + 1));
  return new TextDecoder().decode(Uint8Array.from(body, (letter) => letter.charCodeAt(0)));
}

export function isTextFile({ mediaType }: FilePart): boolean {
  return mediaType?.startsWith('text/') === true;
}

function isText(bytes: Uint8Array): boolean {
  try {
    return !new TextDecoder('utf-8', { fatal: true }).decode(bytes).includes('\0');
  } catch {
    return false;
  }
}

function base64(bytes: Uint8Array): string {
  let letters = '';
  for (let at = 0; at < bytes.length; at += 0x8000) letters += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(letters);
}

/** Sides that a picture is tried with, px, the largest first. */
const SIDES = [2_048, 1_536, 1_024, 640];

async function smaller(file: File): Promise<Blob> {
  const tooLarge = new NotAttached(`“${file.name}” is too large: a file may have ${String(MOST_BYTES / 1024)} KB.`);
  if (!/^image\/(?:png|jpeg|webp|gif|bmp|avif)$/.test(file.type) || typeof createImageBitmap !== 'function') throw tooLarge;
  const picture = await createImageBitmap(file).catch(() => null);
  if (picture === null) throw tooLarge;
  for (const side of SIDES) {
    const scale = Math.min(1, side / Math.max(picture.width, picture.height));
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    canvas.getContext('2d')?.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((resolve) => {
      canvas.toBlob(resolve, 'image/jpeg', 0.85);
    });
    if (blob !== null && blob.size <= MOST_BYTES) return blob;
  }
  throw tooLarge;
}
