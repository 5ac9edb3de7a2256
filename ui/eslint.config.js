import { fileURLToPath } from 'node:url';

import globals from 'globals';
import svelte from 'eslint-plugin-svelte';
import ts from 'typescript-eslint';

const TAURI = {
  group: ['@tauri-apps/*'],
  message: 'Only src/ipc may talk to the host. Use the Backend interface.',
};

/** Layers, lowest first. A folder may import from itself and from the folders before it. */
const LAYERS = ['ipc', 'replica', 'state', 'components', 'views'];

const layerRules = LAYERS.map((layer, index) => ({
  files: [`src/${layer}/**/*.{ts,svelte}`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          ...(layer === 'ipc' ? [] : [TAURI]),
          ...LAYERS.slice(index + 1).map((higher) => ({
            group: [`**/${higher}/**`],
            message: `${layer}/ must not know ${higher}/.`,
          })),
        ],
      },
    ],
  },
}));

export default ts.config(
  { ignores: ['dist', 'dist-browser', 'node_modules', 'src/ipc/bindings'] },
  ...ts.configs.strict,
  ...svelte.configs.recommended,
  {
    languageOptions: {
      globals: { ...globals.browser },
      parserOptions: { tsconfigRootDir: fileURLToPath(new URL('.', import.meta.url)) },
    },
    rules: {
      'no-console': ['error', { allow: ['error', 'warn'] }],
      'no-restricted-imports': ['error', { patterns: [TAURI] }],
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Named exports only.' },
        {
          selector:
            'AssignmentExpression > MemberExpression.left[property.name=/^(inner|outer)HTML$/], CallExpression > MemberExpression[property.name=/^(insertAdjacentHTML|setHTMLUnsafe|setHTML)$/]',
          message: 'Build elements; nothing in this window is made from HTML strings.',
        },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: ts.parser, extraFileExtensions: ['.svelte'] } },
    rules: {
      'svelte/no-at-html-tags': 'error',
      'svelte/require-each-key': 'error',
      // Plain maps and sets here are bookkeeping that nothing draws; what is drawn says `$state`.
      'svelte/prefer-svelte-reactivity': 'off',
    },
  },
  ...layerRules,
  { files: ['*.config.{js,ts}'], rules: { 'no-restricted-syntax': 'off' }, languageOptions: { globals: globals.node } },
);
