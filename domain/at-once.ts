/**
 * Does work for all of a list, so many at once, begun in their order.
 * @returns what came of each, in the order of the list
 * @throws the first failure; what is under way then goes on
 */
export async function atOnce<In, Out>(
  most: number,
  all: readonly In[],
  work: (one: In) => Promise<Out>,
): Promise<Out[]> {
  const outs: Out[] = [];
  const left = all.entries();
  const some = async (): Promise<void> => {
    for (const [at, one] of left) outs[at] = await work(one);
  };
  await Promise.all(Array.from({ length: most }, some));
  return outs;
}
