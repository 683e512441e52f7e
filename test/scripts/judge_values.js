// Says of each { url, secret } of a JSON array on standard input whether generate-cron-config.ts takes it: a JSON array
// of booleans. For tests that compare it with what the extension says.
import { readFileSync } from 'node:fs';

import { run } from './script_in_process.js';

const values = JSON.parse(readFileSync(0, 'utf8'));
const taken = ({ url, secret }) => run(['--allow-localhost'], { env: { APP_URL: url, CRON_SECRET: secret } }).status === 0;
process.stdout.write(JSON.stringify(values.map(taken)));
