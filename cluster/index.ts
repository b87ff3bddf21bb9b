/** What a cluster's API says: loaded only where the inventory is a cluster, since the client library takes long to load. */
export { ReadError, Reader } from './api.ts';
export { type Note, noteOn } from './notes.ts';
export { mayI, rightsOf } from './rights.ts';
export { nodePlace, readNodes, resolvePath } from './resolve.ts';
export { podAt, serviceToSurvey } from './clients.ts';
export { readObject } from './objects.ts';
export { type ServiceEndpoints, allEndpoints, podsOn } from './radius.ts';
