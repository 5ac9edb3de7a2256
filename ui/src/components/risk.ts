/** What a call seems to do, the least grave first. */
export const RISKS = ['read', 'write', 'network', 'run', 'unknown', 'irreversible'] as const;
export type Risk = (typeof RISKS)[number];

export const RISK_WORDS: Record<Risk, string> = {
  read: 'Reads',
  write: 'Changes things',
  network: 'Uses the network',
  run: 'Runs a command',
  unknown: 'Unknown effect',
  irreversible: 'Cannot be undone',
};

/** Words in names of tools, by what they tell. */
const TELLING: readonly (readonly [Risk, ReadonlySet<string>])[] = [
  ['irreversible', wordsOf('delete remove rm rmdir unlink drop destroy purge wipe erase truncate publish deploy release send pay purchase buy order transfer merge push revoke format reset kill terminate shutdown cancel email sms tweet post')],
  ['run', wordsOf('run exec execute shell bash sh command terminal spawn eval script python node')],
  ['network', wordsOf('fetch http https request download upload browse browser navigate curl wget crawl scrape web url webhook call')],
  ['write', wordsOf('write edit create update patch apply rename move mv copy cp mkdir set insert append add save commit install replace put touch modify change str')],
  ['read', wordsOf('read get list ls search grep find view show cat stat head tail glob query describe status clock count lookup fetchrow inspect check diff log tree time now whoami select')],
];

/** Programs that only read, whatever their arguments; those whose second word decides; and those that do more. */
const READING = wordsOf('ls cat head tail wc pwd grep rg egrep fgrep stat file du df whoami date which tree uniq cut tr basename dirname realpath readlink cmp diff true echo printf id uname ps');
const READING_GIT = wordsOf('status log diff show blame ls-files rev-parse describe shortlog');
const WRITING = wordsOf('mv cp mkdir touch tee sed ln chmod chown patch tar unzip zip gzip make');
const REACHING = wordsOf('curl wget ssh scp rsync nc ping dig npm npx pnpm yarn pip pip3 cargo apt apt-get brew docker gh kubectl');
const FINAL = wordsOf('rm rmdir dd mkfs shred truncate kill pkill killall shutdown reboot dropdb');
const FINAL_AFTER: Readonly<Record<string, ReadonlySet<string>>> = {
  git: wordsOf('push reset clean rebase filter-branch'),
  npm: wordsOf('publish unpublish'),
  cargo: wordsOf('publish yank'),
  gh: wordsOf('release pr repo'),
  kubectl: wordsOf('delete apply'),
  docker: wordsOf('rm rmi prune push'),
};

/**
 * What a call seems to do, judged by its name and arguments. Both are the agent's to choose: this helps to read, and
 * decides nothing. What is not known is never called a read.
 */
export function riskOf(tool: string, input: unknown): Risk {
  const fields = typeof input === 'object' && input !== null && !Array.isArray(input) ? Object.entries(input) : [];
  const found: Risk[] = [];
  const names = words(tool);
  for (const [risk, telling] of TELLING) if (names.some((word) => telling.has(word))) found.push(risk);
  for (const [name, value] of fields) {
    if (typeof value !== 'string') continue;
    if (/^(command|cmd|script|shell)$/i.test(name)) {
      const of = riskOfCommand(value);
      // The command says more than a tool that runs any.
      const at = found.indexOf('run');
      if (at !== -1) found.splice(at, 1);
      found.push(of);
    } else if (/^(method|verb)$/i.test(name)) {
      found.push(/^delete$/i.test(value) ? 'irreversible' : 'network');
    } else if (/^(url|uri|endpoint|href)$/i.test(name) && /^https?:/i.test(value)) {
      found.push('network');
    }
  }
  return worst(found.length === 0 ? ['unknown'] : found);
}

/** What a line for a shell seems to do. */
function riskOfCommand(command: string): Risk {
  // What is put together when it runs is not seen here.
  if (/[`\\]|\$[({]|<\(|\beval\b|\bexec\b|\bsudo\b|\bxargs\b/.test(command)) return /\brm\b/.test(command) ? 'irreversible' : 'run';
  const risks = command.split(/\|\||&&|[;|&\n]/).map((part): Risk => {
    const [program = '', ...rest] = part.trim().split(/\s+/);
    const name = program.replace(/^.*\//, '').toLowerCase();
    if (name === '') return 'read';
    if (FINAL.has(name) || rest.some((word) => FINAL_AFTER[name]?.has(word) === true)) return 'irreversible';
    if (/(?:^|[^<>])>/.test(part)) return 'write';
    if (name === 'git') return READING_GIT.has(rest[0] ?? '') ? 'read' : 'write';
    if (name === 'find') return /\s-(?:delete|exec|execdir|ok|fprint)/.test(part) ? 'irreversible' : 'read';
    if (REACHING.has(name)) return 'network';
    if (WRITING.has(name)) return 'write';
    return READING.has(name) ? 'read' : 'run';
  });
  return worst(risks);
}

function worst(risks: readonly Risk[]): Risk {
  return risks.reduce((one, other) => (RISKS.indexOf(other) > RISKS.indexOf(one) ? other : one), 'read');
}

/** The words of a name: `readFile`, `fs.read_file` and `read-file` have the same. */
function words(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
}

function wordsOf(text: string): ReadonlySet<string> {
  return new Set(text.split(' '));
}
