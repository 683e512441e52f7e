// The script reads .env.local as the npm package dotenv does. This test compares both.
import assert from 'node:assert/strict';
import test from 'node:test';
import dotenv from 'dotenv';

import { parseDotenv } from './script_in_process.js';

function same(text) {
  assert.deepEqual(parseDotenv(text), { ...dotenv.parse(text) }, `of the file ${JSON.stringify(text)}`);
}

const cases = {
  'plain values': 'A=1\nB = two words \nC=\n\nD',
  'single quotes keep everything': "A='x # y'\nB='a\\nb'\nC='it\\'s'",
  'double quotes expand line ends': 'A="a\\nb\\rc"\nB="x # y"\nC="say \\"hi\\""',
  'backticks hold both quotes': "A=`it's \"so\"`\nB=`a\\nb`",
  'values of several lines': 'A="one\ntwo\nthree"\nB=\'one\ntwo\'\nC=`one\ntwo`\nD=4',
  'export before the name': 'export A=1\n  export   B="2"\nexport\tC=3\nexportD=4',
  'comments': '# A=1\nB=2 # two\nC=3#three\nD="4" # four\nE="5#5"\n   # F=6\nG=#7',
  'colons': 'A: 1\nB:2\nC : 3',
  'names': 'A.B=1\nA-B=2\n1A=3\nA B=4\nÄ=5\n_=6',
  'line ends of every system': 'A=1\r\nB="2\r\n3"\rC=4',
  'a byte order mark': '\ufeffA=1',
  'quotes that do not close': 'A="1\nB=\'2\nC=`3\nD=4"\nE=5\'',
  'quotes inside': 'A=a"b"c\nB="a"b\nC="a" "b"\nD=\'a"b\'',
  'blanks around': '  A  =  1  \n\tB\t=\t"  2  "\t',
  'equal signs in the value': 'A=a=b==\nB="c=d"',
  'the last one of a name counts': 'A=1\nA=2',
  'JSON': 'A={"b": "c"}\nB=\'{"b": "c"}\'',
  'variables stay as they are': 'A=$B\nB=${C:-d}\nC=\\$D',
  'backslashes': 'A=a\\b\nB="a\\\\b"\nC="a\\\\nb"\nD=\'a\\',
};
for (const [name, text] of Object.entries(cases)) test(name, () => same(text));

// A generator with a seed, so that a failure can be repeated.
function randomNumbers(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test('twenty thousand random files are read as dotenv reads them', () => {
  const pieces = ['A', 'B', 'CRON_SECRET', '=', '=', '=', ' ', '\t', '\n', '\n', '\r\n', '\r', '"', "'", '`', '#', '\\', '\\n',
    '\\r', ':', ': ', 'export ', '.', '-', 'x', 'ä', '$', '\u2028', '\u00a0', '{', '1'];
  const random = randomNumbers(20260101);
  for (let file = 0; file < 20_000; file += 1) {
    let text = '';
    for (let length = 1 + random(25); length > 0; length -= 1) text += pieces[random(pieces.length)];
    same(text);
  }
});
