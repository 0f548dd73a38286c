// Requests to the page's own server; what it refuses is an Error with its words.

export const address = (path, query = "") => new URL(`page/search/${path}${query && `?${query}`}`, document.baseURI);

export async function ask(path, query = "", options = {}) {
    let answer;
    try {
        answer = await fetch(address(path, query), options);
    } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Error("The server of this page does not answer. Is it still running?");
    }
    const found = await answer.json().catch(() => null);
    if (!answer.ok) throw new Error(found?.error?.message ?? `The server answered with status ${answer.status}.`);
    return found;
}
