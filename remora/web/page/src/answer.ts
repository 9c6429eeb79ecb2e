/** The server's answer to a GET, as a hook. */
import { useEffect, useState } from "preact/hooks";
import { get } from "./api";

export interface Answer<T> {
  value: T | null;
  fault: string | null;
}

/** What the server says to a GET; nothing while ``url`` is false. */
export function useAnswer<T>(url: string | null | false): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T>>({ value: null, fault: null });
  useEffect(() => {
    setAnswer({ value: null, fault: null });
    if (!url) return;
    const stop = new AbortController();
    get<T>(url, stop.signal).then(
      (value) => setAnswer({ value, fault: null }),
      (fault: Error) => !stop.signal.aborted && setAnswer({ value: null, fault: fault.message }),
    );
    return () => stop.abort();
  }, [url]);
  return answer;
}
