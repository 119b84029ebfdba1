/** `1 rule`, `2 rules`, `0 rules`. `many`: a plural that isn't formed with s. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
