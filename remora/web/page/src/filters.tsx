/** Filters from the library's own columns: values with counts, numbers as a range over their histogram. */
import { useEffect, useState } from "preact/hooks";
import type { Column } from "./api";
import { columns, facetsFault } from "./facets";
import { type Filter, go, place, type Range } from "./place";
import "./filters.css";

const TITLES: Record<string, string> = {
  class_id: "Action",
  source: "Source",
  style: "Style",
  subject: "Person",
  split: "Split",
  licence: "Licence",
  skeleton: "Skeleton",
  duration_s: "Length",
  fps: "Frame rate",
  mirrored: "Mirrored",
};
const UNITS: Record<string, string> = { duration_s: "s", fps: "fps" };
const ORDER = Object.keys(TITLES);
const SHORT = 6;
const LONG = 14; // from here on a list can be searched

export function Filters() {
  const { filters } = place.value;
  const set = (column: string, filter: Filter | null) => {
    const { [column]: _, ...others } = place.value.filters;
    go({ filters: filter ? { ...others, [column]: filter } : others });
  };
  const rank = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  const sorted = [...columns.value].sort((a, b) => rank(a.name) - rank(b.name));
  return (
    <>
      {facetsFault.value && (
        <p class="hint" role="alert">
          {facetsFault.value}
        </p>
      )}
      {sorted.map((column) => (
        <section class="panel" key={column.name} aria-labelledby={`facet-${column.name}`}>
          <h2 id={`facet-${column.name}`}>
            {TITLES[column.name] ?? column.name.replaceAll("_", " ")}
            {filters[column.name] && (
              <button
                class="text-button"
                aria-label={`Clear filter ${TITLES[column.name] ?? column.name}`}
                onClick={() => set(column.name, null)}
              >
                clear
              </button>
            )}
          </h2>
          {column.kind === "number" ? (
            <RangeFilter
              column={column}
              filter={filters[column.name] as Range | undefined}
              onChange={(range) => set(column.name, range)}
            />
          ) : (
            <ValueFilter
              column={column}
              chosen={(filters[column.name] as string[] | undefined) ?? []}
              onChange={(values) => set(column.name, values.length ? values : null)}
            />
          )}
        </section>
      ))}
    </>
  );
}

function ValueFilter({
  column,
  chosen,
  onChange,
}: {
  column: Column;
  chosen: string[];
  onChange: (values: string[]) => void;
}) {
  const [open, setOpen] = useState(false);
  const [wanted, setWanted] = useState("");
  const counted = (column.values ?? []).map(({ value, count }) => ({ value: String(value), count }));
  const missing = chosen.filter((value) => !counted.some((one) => one.value === value));
  const values = [...counted, ...missing.map((value) => ({ value, count: 0 }))];
  const most = Math.max(1, ...values.map(({ count }) => count));
  const fitting = values.filter(({ value }) => value.toLowerCase().includes(wanted.toLowerCase()));
  const shown = open ? fitting : fitting.filter(({ value }, i) => i < SHORT || chosen.includes(value));
  const toggle = (value: string) =>
    onChange(chosen.includes(value) ? chosen.filter((other) => other !== value) : [...chosen, value]);
  return (
    <>
      {open && values.length >= LONG && (
        <input
          class="facet-search"
          type="search"
          aria-label={`Search in ${column.name}`}
          placeholder={`among ${values.length}…`}
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
        />
      )}
      <ul class="facet" data-open={open || undefined}>
        {shown.map(({ value, count }) => (
          <li key={value}>
            <label>
              <input type="checkbox" checked={chosen.includes(value)} onChange={() => toggle(value)} />
              <span class="facet-value" title={value}>
                {value.replaceAll("_", " ") || "none"}
              </span>
              <span class="facet-count">{count.toLocaleString("en")}</span>
              <span class="facet-bar" style={{ width: `${(100 * count) / most}%` }} />
            </label>
          </li>
        ))}
      </ul>
      {values.length > SHORT && (
        <button class="text-button" aria-expanded={open} onClick={() => (setOpen(!open), setWanted(""))}>
          {open ? "fewer" : `all ${column.distinct > values.length ? `${values.length} most frequent` : values.length}`}
        </button>
      )}
    </>
  );
}

function RangeFilter({
  column,
  filter,
  onChange,
}: {
  column: Column;
  filter?: Range;
  onChange: (range: Range | null) => void;
}) {
  const low = Math.floor((column.low ?? 0) * 10) / 10;
  const high = Math.ceil((column.high ?? 1) * 10) / 10;
  const [range, setRange] = useState<Range>(filter ?? { low, high });
  useEffect(() => setRange(filter ?? { low, high }), [filter?.low, filter?.high, low, high]);
  const bins = column.bins ?? [];
  const most = Math.max(1, ...bins.map(({ count }) => Math.sqrt(count)));
  const unit = UNITS[column.name] ?? "";
  const name = TITLES[column.name] ?? column.name;
  const moved = (end: "low" | "high", value: number): Range =>
    end === "low" ? { ...range, low: Math.min(value, range.high) } : { ...range, high: Math.max(value, range.low) };
  const commit = (chosen: Range) => onChange(chosen.low <= low && chosen.high >= high ? null : chosen);
  const thumb = (end: "low" | "high") => (
    <input
      type="range"
      min={low}
      max={high}
      step="0.1"
      value={range[end]}
      aria-label={`${name}, ${end === "low" ? "from" : "to"}`}
      onInput={(event) => setRange(moved(end, Number(event.currentTarget.value)))}
      onChange={(event) => commit(moved(end, Number(event.currentTarget.value)))}
    />
  );
  return (
    <div class="range">
      <div class="range-bins" aria-hidden="true">
        {bins.map((bin) => (
          <i
            key={bin.low}
            data-out={bin.high < range.low || bin.low > range.high || undefined}
            style={{ height: `${(100 * Math.sqrt(bin.count)) / most}%` }}
          />
        ))}
      </div>
      <div class="range-thumbs">
        {thumb("low")}
        {thumb("high")}
      </div>
      <div class="range-ends">
        <span>
          {range.low} {unit}
        </span>
        <span>
          {range.high} {unit}
        </span>
      </div>
    </div>
  );
}
