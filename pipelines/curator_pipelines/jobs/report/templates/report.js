"use strict";
// Hover and keyboard focus tell what a picture is; a click enlarges it; arrow keys go on from there.
const tip = document.getElementById("tip");
const enlarged = document.getElementById("enlarged");
const pictures = [...document.querySelectorAll("button.picture")].filter((picture) => !picture.closest("[hidden]"));
let shown = 0;

function tell(caption, image, x, y) {
  tip.replaceChildren();
  if (image) {
    const copy = document.createElement("img");
    copy.src = image;
    copy.alt = "";
    tip.append(copy);
  }
  tip.append(caption);
  tip.hidden = false;
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 4)) + "px";
  tip.style.top = Math.max(4, y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 10 : y + 18) + "px";
}

function hide() {
  tip.hidden = true;
}

function enlarge(number) {
  shown = (number + pictures.length) % pictures.length;
  const picture = pictures[shown];
  const image = enlarged.querySelector("img");
  image.src = picture.querySelector("img").src;
  image.alt = picture.querySelector("img").alt;
  enlarged.querySelector("p").textContent = picture.dataset.caption;
  hide();
  if (!enlarged.open) enlarged.showModal();
}

for (const told of document.querySelectorAll(".picture")) {
  told.addEventListener("mousemove", (event) => tell(told.dataset.caption, "", event.clientX, event.clientY));
  told.addEventListener("mouseleave", hide);
  told.addEventListener("focus", () => {
    const box = told.getBoundingClientRect();
    tell(told.dataset.caption, "", box.left, box.bottom - 18);
  });
  told.addEventListener("blur", hide);
}
pictures.forEach((picture, number) => picture.addEventListener("click", () => enlarge(number)));
for (const button of enlarged.querySelectorAll("[data-step]")) {
  button.addEventListener("click", () => enlarge(shown + Number(button.dataset.step)));
}
enlarged.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") enlarge(shown + 1);
  if (event.key === "ArrowLeft") enlarge(shown - 1);
});
enlarged.addEventListener("close", () => pictures[shown].focus());

const names = document.getElementById("plane-names");
if (names) {
  for (const [group, ofGroup] of Object.entries(JSON.parse(names.textContent))) {
    document.querySelectorAll(`#points-${group} use`).forEach((point, number) => {
      const picture = document.querySelector(`button.picture[data-name="${ofGroup[number]}"]`);
      if (!picture) return;
      point.classList.add("pictured");
      const image = picture.querySelector("img").src;
      point.addEventListener("mousemove", (event) => tell(picture.dataset.caption, image, event.clientX, event.clientY));
      point.addEventListener("mouseleave", hide);
      point.addEventListener("click", () => {
        const number = pictures.indexOf(picture);
        if (number >= 0) enlarge(number);
      });
    });
  }
}
