// What the health check may find, in words.

/** Name → one, many, what is wrong with them, what it often means, the same as a choice of pictures. */
export const FINDINGS = {
  nothing: ["picture", "pictures", "with nothing on them", "Fine if they are meant to be empty.", "nothing on it"],
  outside: ["shape", "shapes", "reaching out of their picture", "Often a wrong size or a wrong picture.", "shapes reaching out"],
  twice: ["shape", "shapes", "drawn twice at the same place", "Usually an import done twice.", "shapes drawn twice"],
  tiny: ["shape", "shapes", "less than 3 pixels wide or high", "Often a slip of the hand.", "tiny shapes"],
  empty: ["shape", "shapes", "without any area", "They cannot be seen.", "shapes without area"],
  mask_off_box: ["mask", "masks", "that hardly overlap their box", "Often a mask linked to a wrong box.", "masks off their box"],
  unused_label: ["label", "labels", "never used", "Remove them, or find out what is missing.", ""],
  rare_label: ["label", "labels", "a hundred times rarer than the most frequent", "A model will hardly learn them.", ""],
};

export const FLAG_WORDS = { occluded: "occluded", truncated: "truncated", is_group_of: "group of", is_depiction: "depiction", is_inside: "inside" };
