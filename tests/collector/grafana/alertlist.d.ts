// What the list of alerts may be told. No npm package of Grafana's declares it (neither schema, data, ui, runtime, scenes,
// alerting nor the foundation SDK): names and types here are those that Grafana's panel itself reads, in
// public/app/plugins/panel/alertlist/types.ts; what our dashboards leave to its defaults is left out, and so refused.
export interface Options {
  alertInstanceLabelFilter: string;
  alertName: string;
  dashboardAlerts: boolean;
  groupBy: string[];
  groupMode: "default" | "custom";
  maxItems: number;
  showInactiveAlerts: boolean;
  sortOrder: 1 | 2 | 3 | 4 | 5; // by name, name reversed, importance, time, time reversed
  stateFilter: {
    error: boolean;
    firing: boolean;
    noData: boolean;
    normal: boolean;
    pending: boolean;
    recovering: boolean;
  };
  viewMode: "list" | "stat";
}
