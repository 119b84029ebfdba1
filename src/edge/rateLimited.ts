/** At most ten lines a second: one bad packet a microsecond must not fill the disk. */
export function rateLimited(write: (message: string) => void): (message: string) => void {
  let second = 0;
  let lines = 0;
  return (message) => {
    const current = Math.floor(Date.now() / 1000);
    if (current !== second) {
      second = current;
      lines = 0;
    }
    if (++lines <= 10) write(message);
  };
}
