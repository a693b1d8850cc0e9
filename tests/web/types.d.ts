// What the service's API answers, as far as the page looks at it. For `tsc` alone: nothing of this is sent to browsers.

type Query = Record<string, string | number | boolean | null | undefined>;

interface Task {
  id: number;
  name: string;
  size: number;
  project_id: number | null;
  subset: string;
  updated_date: string;
  created_date: string;
}

interface Attribute {
  id: number;
  name: string;
  input_type: "checkbox" | "select" | "radio" | "number" | "text";
  default_value: string;
  values: string[];
  mutable: boolean;
}

interface Label {
  id: number;
  name: string;
  color: string;
  attributes: Attribute[];
  sublabels: Label[];
}

/** Who uses the page. `how`: with a session of their own, or because everybody on this machine may. */
interface Who {
  id: number;
  username: string;
  how: "session" | "local";
}

interface Problem {
  code: string;
  message: string;
  severity: "error" | "warning";
  file?: string | null;
  row?: number | null;
  column?: string | null;
  value?: string | null;
  suggestion?: string | null;
}

type Counts = Record<string, number>;

interface Report {
  problems: Problem[];
  counts: Counts;
  n_errors: number;
  n_warnings: number;
  tables: Record<string, Counts>;
  annotations: Counts;
  changes?: Record<string, Counts>;
  selection?: Record<string, { before: number; after: number }>;
  format?: string;
  dry_run?: boolean;
}

/** A request of the API: background work. */
interface Work {
  id: string;
  status: "queued" | "started" | "finished" | "failed";
  message: string;
  progress: number | null;
  created_date: string;
  started_date: string | null;
  finished_date: string | null;
  expiry_date: string | null;
  operation: { type: string; target: string; task_id: number | null; job_id: number | null; project_id: number | null; format: string | null };
  result_url?: string;
  result_size?: number | null;
  report?: Report;
}

interface Shape {
  id?: number;
  key: number;
  type: "rectangle" | "polygon" | "polyline" | "points" | "ellipse" | "cuboid" | "mask" | "skeleton";
  frame: number;
  label_id: number;
  group: number;
  source: string;
  occluded: boolean;
  outside?: boolean;
  rotation: number;
  points: number[];
  attributes: { spec_id: number; value: string }[];
  elements: Shape[];
}

interface Tag {
  id?: number;
  frame: number;
  label_id: number;
  group: number;
  source: string;
  attributes: { spec_id: number; value: string }[];
}

declare var tus: typeof import("tus-js-client");
