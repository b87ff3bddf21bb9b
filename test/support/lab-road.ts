import type { Session } from '../../cli/session.ts';
import type { Inventory } from '../../domain/inventory.ts';
import type { Fault } from '../../lab/fault.ts';
import { type Lab, down, faultNamed, heal, inject, up } from '../../lab/lab.ts';
import { Road } from './road.ts';

/** A road over a lab that this test file has for itself, and the one fault that is in the lab. */
export class LabRoad extends Road {
  private readonly lab: Lab;
  private broken: Fault | undefined;

  constructor(lab: Lab) {
    super();
    this.lab = lab;
  }

  /** Brings up the lab, then a Temporal server and a worker. */
  async begin(inventory: Inventory): Promise<Session> {
    await up(this.lab);
    await this.open();
    return this.session(inventory);
  }

  /** Breaks the lab in this one way: what was broken before is healed. */
  async breaks(id: string): Promise<Fault> {
    await this.heal();
    this.broken = faultNamed(id);
    await inject(this.broken);
    return this.broken;
  }

  async heal(): Promise<void> {
    const { broken } = this;
    this.broken = undefined;
    if (broken) await heal(broken);
  }

  override async close(): Promise<void> {
    await this.heal();
    await super.close();
    await down(this.lab);
  }
}
