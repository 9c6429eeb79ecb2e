import { render } from "preact";
import "./base.css";
import { App } from "./app";
import { followLibrary, openLibrary } from "./library";

void openLibrary();
followLibrary();
render(<App />, document.getElementById("studio")!);
