// What stops a command, in words for the person who gave it. `status` is the exit status.
export class Complaint extends Error {
  constructor(message: string, readonly status = 1) {
    super(message);
  }
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}
