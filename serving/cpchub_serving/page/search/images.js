// An image comes in: chosen, dropped anywhere on the tab, or pasted.

import {ask} from "./server.js";

const isSeen = (element) => element.offsetParent !== null;

/** Calls `found(q)` with the query for an image that was given, `refused(words)` where it cannot be searched with. */
export function listen(tab, input, {begun, found, refused}) {
    const take = async (files) => {
        const file = [...files].find((one) => one.type.startsWith("image/")) ?? files[0];
        if (!file) return refused("This is not a file; save the image first, then drop the file.");
        begun();
        try {
            const name = encodeURIComponent(file.name);
            const type = {"Content-Type": "application/octet-stream"};
            found((await ask("upload", `name=${name}`, {method: "POST", body: file, headers: type})).q);
        } catch (error) {
            refused(error.message);
        }
    };
    input.addEventListener("change", () => {
        if (input.files.length) take([...input.files]);
        input.value = "";
    });
    const drag = (event, over) => {
        if (!isSeen(tab) || !event.dataTransfer.types.includes("Files")) return false; // text may go into a field
        event.preventDefault();
        tab.classList.toggle("cpc-drop", over);
        return true;
    };
    document.addEventListener("dragover", (event) => drag(event, true));
    document.addEventListener("dragleave", (event) => {
        if (!event.relatedTarget) drag(event, false);
    });
    document.addEventListener("drop", (event) => {
        if (drag(event, false)) take(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => {
        const files = event.clipboardData?.files ?? [];
        if (isSeen(tab) && files.length) take(files);
    });
}
