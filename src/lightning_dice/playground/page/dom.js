// The page's elements, by their id.

export const find = (id) => document.getElementById(id);
