import { Part, html, icon } from "../dom.js";

const KEYS = [
  ["?", "These keys"],
  ["/", "Search"],
  ["n", "New task"],
  ["← →", "Previous, next picture"],
  [", .", "Previous, next shape"],
  ["+ − 0", "Larger, smaller, whole picture"],
  ["⇧←↑↓→", "Move the picture"],
  ["h", "Annotations on and off"],
  ["Esc", "Let go of the chosen shape"],
];

export function keyList() {
  return html`<dl class="keys">${KEYS.map(([key, words]) => html`<dt>${key.split(" ").map((one) => html`<kbd>${one}</kbd> `)}</dt><dd>${words}</dd>`)}</dl>`;
}

const LAYOUT = `upload.zip
├── annotations/
│   ├── class-descriptions.csv                      names of the classes
│   ├── train-images-with-rotation.csv              the pictures
│   ├── train-annotations-bbox.csv                  boxes
│   ├── train-annotations-human-imagelabels.csv     labels of whole pictures
│   └── train-annotations-object-segmentation.csv   masks
└── masks/train/….png                               one picture a mask`;

const BOX = `ImageID,LabelName,XMin,XMax,YMin,YMax
cat-on-sofa,/m/01yrx,0.12,0.58,0.31,0.94`;

class Help extends Part {
  connectedCallback() {
    super.connectedCallback();
    document.title = "Help · annoport";
  }

  render() {
    return html`<main class="page narrow prose" id="main">
      <h1>How a zip should look</h1>
      <p>Any zip with at least one of these tables will do, and so will the tables alone. Folders are free, names are what counts; official downloads of Open Images V4 to V7 and the zips of CVAT, datumaro and FiftyOne work as they are.</p>
      <pre tabindex="0" aria-label="Layout of a zip"><code>${LAYOUT}</code></pre>
      <p class="row wrap">
        <a class="button primary" href="/samples/open-images-sample.zip" download>${icon("download")} Sample with pictures</a>
        <a class="button" href="/samples/open-images-tables.zip" download>${icon("download")} Tables alone</a>
        <a class="button" href="/samples/open-images-mistakes.zip" download>${icon("download")} With mistakes</a>
      </p>
      <h2>A row</h2>
      <pre tabindex="0" aria-label="Two lines of a table of boxes"><code>${BOX}</code></pre>
      <ul>
        <li><strong>ImageID</strong> is the picture's name in the task, without its ending: <span class="mono">cat-on-sofa.jpg</span> is <span class="mono">cat-on-sofa</span>. A folder in front is fine where it is needed to tell two apart.</li>
        <li><strong>LabelName</strong> is a class from <span class="mono">class-descriptions.csv</span>, or the name of a label of the task.</li>
        <li><strong>XMin … YMax</strong> go from 0 to 1: parts of the picture's width and height, not pixels.</li>
        <li>Flags (<span class="mono">IsOccluded</span> and so on) are 1, 0, or −1 for "nobody looked".</li>
      </ul>
      <h2>What an import does</h2>
      <ol>
        <li>Every row is read and checked first, and you see the outcome.</li>
        <li>If anything is wrong, nothing is changed. Each problem comes with its file, row and column.</li>
        <li>If all is well, everything goes in at once. What the task cannot show is kept, and comes back in the export.</li>
        <li>A label that is called otherwise in the task is set right with one click; pictures that are not the task's can be left out; labels that are missing can come along.</li>
        <li>Into a task that holds something an import replaces it, is added, or corrects only what differs: the same zip twice changes nothing.</li>
      </ol>
      <h2 id="keys">Keys</h2>
      ${keyList()}
      <h2>From a terminal</h2>
      <p>Everything here can be done with curl, cvat-cli or cvat-sdk. Each page shows the lines for what it does under “The same from a terminal”.</p>
    </main>`;
  }
}

customElements.define("ap-help", Help);
