import { EvidenceStore } from '../activities/store.ts';
import { evidenceFolder } from './paths.ts';

/** The evidence of this user's runs. */
export const evidenceStore = (): EvidenceStore => new EvidenceStore(evidenceFolder());
