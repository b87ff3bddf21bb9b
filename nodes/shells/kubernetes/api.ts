import { homedir } from 'node:os';
import { ApiException, CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import { serverWords } from '../../../domain/api-words.ts';
import { innermost } from '../../../domain/errors.ts';
import type { KubernetesSpec } from '../../../domain/inventory.ts';
import { ApiError } from './errors.ts';

/**
 * How the cluster is reached: the named kubeconfig and context, else what kubectl would take, else the pod's own account.
 * @throws ApiError when there is no such file or context
 */
export function kubeConfig({ kubeconfig, context }: KubernetesSpec): KubeConfig {
  const config = new KubeConfig();
  try {
    if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig.replace(/^~(?=\/)/, homedir()));
  } catch (error) {
    throw new ApiError(`the kubeconfig ${kubeconfig ?? ''} cannot be read: ${innermost(error)}`);
  }
  if (context !== undefined) {
    const known = config.getContexts().map(({ name }) => name);
    if (!known.includes(context))
      throw new ApiError(`the kubeconfig has no context ${context}; it has: ${known.join(', ') || 'none'}`);
    config.setCurrentContext(context);
  }
  if (!config.getCurrentCluster())
    throw new ApiError('the kubeconfig names no current context; set kubernetes.context');
  return config;
}

export const core = (config: KubeConfig): CoreV1Api => config.makeApiClient(CoreV1Api);

/** Longest wait for one answer of the API server; the client itself would wait for ever. */
const answerMs = 10_000;

/**
 * One call of the API, in bounded time.
 * @param doing what it is for, as the message's first words: `listing pods`
 * @throws ApiError with the HTTP status and the server's own words
 */
export async function asked<T>(doing: string, call: Promise<T>, ms = answerMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ApiError(`${doing}: no answer of the API server within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([call, late]);
  } catch (error) {
    throw apiError(doing, error);
  } finally {
    clearTimeout(timer);
  }
}

function apiError(doing: string, error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof ApiException) {
    const { code } = error as { code: number };
    return new ApiError(`${doing}: ${serverWords((error as { body: unknown }).body) || `status ${code}`}`, code);
  }
  return new ApiError(`${doing}: the API server cannot be reached: ${innermost(error)}`);
}
