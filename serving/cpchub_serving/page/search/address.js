// The query in the page's address: ?q=id:42&plus=id:7*0.5&minus=...&where=...&k=100. A link of it shows the same results.

const OURS = ["q", "plus", "minus", "where", "k"];

const part = (text) => {
    const [what, weight] = text.split("*");
    return {what, weight: weight === undefined ? 1 : Number(weight)};
};

const text = ({what, weight}) => (weight === 1 ? what : `${what}*${weight}`);

export const nothing = {q: "", plus: [], minus: [], where: "", k: 0};

export function read(search) {
    const fields = new URLSearchParams(search);
    return {
        q: fields.get("q") ?? "",
        plus: fields.getAll("plus").map(part),
        minus: fields.getAll("minus").map(part),
        where: fields.get("where") ?? "",
        k: Number(fields.get("k")) || 0,
    };
}

/** The fields of a query as the server reads them. */
export function write(query) {
    const fields = [["q", query.q], ...query.plus.map((one) => ["plus", text(one)]),
        ...query.minus.map((one) => ["minus", text(one)]), ["where", query.where], ["k", query.k || ""]];
    return fields.filter(([, value]) => value !== "")
        .map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%3A", ":").replaceAll("%20", "+")}`)
        .join("&");
}

/** The address of the page with a query in it; what else the address has stays. */
export function withQuery(query) {
    const others = new URLSearchParams(location.search);
    OURS.forEach((name) => others.delete(name));
    const fields = [others.toString(), write(query)].filter(Boolean).join("&");
    return location.pathname + (fields && `?${fields}`) + location.hash;
}

/** The images of a query in one list, as the server numbers them: [field, place in it]. */
export const places = (query) => [
    ...(query.q ? [["q", 0]] : []),
    ...query.plus.map((_, place) => ["plus", place]),
    ...query.minus.map((_, place) => ["minus", place]),
];

export function without(query, number) {
    const [field, place] = places(query)[number];
    return field === "q" ? {...query, q: ""} : {...query, [field]: query[field].filter((_, i) => i !== place)};
}

export function weighted(query, number, weight) {
    const [field, place] = places(query)[number];
    const change = (one, i) => (i === place ? {...one, weight} : one);
    return field === "q" ? {...query, q: text({what: part(query.q).what, weight})}
        : {...query, [field]: query[field].map(change)};
}

/** The query with an image added (sign 1) or subtracted (sign -1). What is subtracted counts half: else it would rule. */
export function refined(query, what, sign) {
    if (part(query.q).what === what) return query;
    const others = (list) => list.filter((one) => one.what !== what);
    const plus = others(query.plus), minus = others(query.minus);
    if (sign > 0 && !query.q && !plus.length && !minus.length) return {...query, q: what};
    return sign > 0 ? {...query, plus: [...plus, {what, weight: 1}], minus}
        : {...query, plus, minus: [...minus, {what, weight: query.q || plus.length ? 0.5 : 1}]};
}
