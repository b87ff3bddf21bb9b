export { diagnose } from './diagnose.ts';
export { remediate } from './remediate.ts';
export { change } from './change.ts';
export { rollback } from './rollback.ts';
export { audit } from './audit.ts';
