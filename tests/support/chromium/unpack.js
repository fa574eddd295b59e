// Unpacks the browser of the package, and the libraries and fonts that it needs, into the folder that TMPDIR names.
import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// The package unpacks libraries only on the system for which it is made.
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
mkdirSync(tmpdir(), { recursive: true });
const { default: chromium } = await import("@sparticuz/chromium");
console.log(await chromium.executablePath());

// The package's own file looks for fonts where they are on that system.
const fonts = join(tmpdir(), "fonts");
writeFileSync(
  join(fonts, "fonts.conf"),
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${fonts}</dir>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <cachedir>${join(tmpdir(), "fonts-cache")}</cachedir>
  <config></config>
</fontconfig>
`,
);
