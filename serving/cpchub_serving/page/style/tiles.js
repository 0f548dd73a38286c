// An image that the server cannot show: its place says so, in every tab.

export function listen() {
    document.addEventListener("error", (event) => {
        const image = event.target;
        if (!(image instanceof HTMLImageElement) || !image.closest(".cpc-frame, .cpc-chip")) return;
        const gone = Object.assign(document.createElement("span"), {className: "cpc-gone"});
        gone.append("not", document.createElement("br"), "readable");
        image.replaceWith(gone);
    }, true);
}
