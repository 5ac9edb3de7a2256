/** What a `data:` address holds; null where it holds none that can be read. */
export function bytesIn(url: string): Uint8Array | null {
  const comma = url.indexOf(',');
  if (!url.startsWith('data:') || comma === -1) return null;
  const body = url.slice(comma + 1);
  try {
    if (/;base64$/i.test(url.slice(0, comma))) return Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
    return new TextEncoder().encode(decodeURIComponent(body));
  } catch {
    return null;
  }
}

/** The name to save something under: its own, else one by its kind. */
export function nameOf(filename: string | null, mediaType: string | null): string {
  if (filename !== null && filename.trim() !== '') return filename;
  const end = /^[a-z]+\/(?:x-)?([a-z0-9]{1,8})/i.exec(mediaType ?? '')?.[1]?.toLowerCase() ?? 'bin';
  return `file.${{ jpeg: 'jpg', plain: 'txt', markdown: 'md', octet: 'bin' }[end] ?? end}`;
}
