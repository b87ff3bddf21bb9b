export { diagnose } from './diagnose.ts';
export { remediate } from './remediate.ts';
export { change } from './change.ts';
export { permit } from './permit.ts';
export { rollback } from './rollback.ts';
export { incident } from './incident.ts';
export { turns } from './turns.ts';
export { stopped } from './stopped.ts';
