// The instances of both fleets.

import { count } from "./format";
import { sized } from "./parts";
import type { Endpoint, Fleet, Instance } from "./wire";

export function Instances({ endpoint }: { endpoint: Endpoint }) {
  const all = [...endpoint.blue.instances, ...(endpoint.green?.instances ?? [])];
  const busiest = Math.max(1, ...all.map((instance) => instance.in_flight));
  return (
    <section class="panel" aria-labelledby="instances">
      <h2 id="instances">Instances</h2>
      <div class="fleets">
        <FleetTable name="Blue" dot="dot-b" fleet={endpoint.blue} busiest={busiest} />
        {endpoint.green ? <FleetTable name="Green" dot="dot-g" fleet={endpoint.green} busiest={busiest} /> : null}
      </div>
    </section>
  );
}

function FleetTable({ name, dot, fleet, busiest }: { name: string; dot: string; fleet: Fleet; busiest: number }) {
  const isWeighted = fleet.instances.some((instance) => instance.weight !== 1);
  return (
    <div class="fleet">
      <h3>
        <i class={`dot ${dot}`} /> {name} {fleet.version}
        <small>
          {fleet.instances.length}
          {fleet.desired !== null && fleet.desired !== fleet.instances.length ? ` of ${fleet.desired}` : ""}{" "}
          {fleet.instances.length === 1 ? "instance" : "instances"}, {""}
          {count(fleet.traffic.in_flight)} in flight
          {fleet.waiting > 0 ? `, ${count(fleet.waiting)} waiting for room` : ""}
        </small>
      </h3>
      {fleet.instances.length === 0 ? (
        <p class="empty">None yet.</p>
      ) : (
        <table class="plain">
          <thead>
            <tr>
              <th scope="col">Address</th>
              <th scope="col">Health</th>
              {isWeighted ? <th scope="col" class="figure">Weight</th> : null}
              <th scope="col">In flight</th>
            </tr>
          </thead>
          <tbody>
            {fleet.instances.map((instance) => (
              <tr key={instance.address}>
                <th scope="row">
                  <code>{instance.address}</code>
                </th>
                <td>
                  <Health instance={instance} />
                </td>
                {isWeighted ? <td class="figure">{instance.weight}</td> : null}
                <td>
                  <span class="busy">
                    <span class="busy-bar">
                      <span ref={(bar) => sized(bar, instance.in_flight / busiest)} />
                    </span>
                    {count(instance.in_flight)}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}

function Health({ instance }: { instance: Instance }) {
  if (instance.ejected) return <span class="health health-bad">ejected</span>;
  return <span class={`health health-${instance.health === "unhealthy" ? "bad" : instance.health}`}>{instance.health}</span>;
}
