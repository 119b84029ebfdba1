/** `l7egg explain NAME|IP[:PORT]` */
import type { Explanation } from "../core/policy/explain.js";
import { formatExplanation } from "../core/policy/formatExplanation.js";
import { parseQuestion } from "../core/policy/question.js";
import { UsageError } from "../edge/errors.js";
import { print } from "./output.js";
import { ask } from "./status.js";

export async function explain(target: string, options: { name: string; json?: boolean }): Promise<number> {
  const question = parseQuestion(target);
  if (!question.ok) throw new UsageError(question.error);
  const result = (await ask(options.name, "explain", { target })) as Explanation;
  print(options.json ? [JSON.stringify(result, undefined, 2)] : formatExplanation(result));
  return 0;
}
