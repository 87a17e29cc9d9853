# Invariance over groups by lavaan and semTools. Run in this folder: Rscript make.R
# Data: Holzinger-Swineford by school (../hs1939.csv), and ten items of psychTools::bfi (public survey data of the SAPA
# project) by gender, with the items' own six categories and with E1-E5 collapsed to 2 and 3 categories.
suppressPackageStartupMessages({library(lavaan); library(semTools); library(psychTools); library(jsonlite)})
items <- c(paste0("A", 1:5), paste0("E", 1:5))
b <- bfi[, c(items, "gender")]
b <- b[complete.cases(b), ]
write.csv(b, "bfi10.csv", row.names = FALSE, quote = FALSE)
mixed <- b
for (i in c("E1", "E2")) mixed[[i]] <- as.integer(mixed[[i]] > 3) + 1L
for (i in c("E3", "E4", "E5")) mixed[[i]] <- findInterval(mixed[[i]], c(3, 5)) + 1L
write.csv(mixed, "bfi10_collapsed.csv", row.names = FALSE, quote = FALSE)
hs <- read.csv("../hs1939.csv")
hs_full <- HolzingerSwineford1939
hs_model <- "visual =~ x1 + x2 + x3
textual =~ x4 + x5 + x6
speed =~ x7 + x8 + x9"
model <- "A =~ A1 + A2 + A3 + A4 + A5
E =~ E1 + E2 + E3 + E4 + E5"
keep <- function(fit) as.list(unclass(fitMeasures(fit)))
tests <- function(fits) lapply(seq_along(fits)[-1], function(k) {
  t <- lavTestLRT(fits[[k]], fits[[k - 1]])
  list(chisq_diff = t[["Chisq diff"]][2], df_diff = t[["Df diff"]][2], pvalue = t[["Pr(>Chisq)"]][2])
})
continuous <- function(m, d, g, estimator) {
  equal <- list(configural = "", metric = "loadings", scalar = c("loadings", "intercepts"),
                strict = c("loadings", "intercepts", "residuals"))
  fits <- lapply(equal, function(e) cfa(m, d, group = g, estimator = estimator, group.equal = e))
  list(levels = lapply(fits, keep), tests = tests(fits))
}
ordinal <- function(d) {
  equal <- list(configural = "", thresholds = "thresholds", metric = c("thresholds", "loadings"),
                scalar = c("thresholds", "loadings", "intercepts"),
                strict = c("thresholds", "loadings", "intercepts", "residuals"))
  fits <- lapply(equal, function(e) do.call(measEq.syntax, list(configural.model = model, data = d, ordered = items,
    parameterization = "theta", ID.fac = "std.lv", ID.cat = "Wu.Estabrook.2016", group = "gender", group.equal = e,
    return.fit = TRUE, estimator = "WLSMV")))
  scalar <- parameterEstimates(fits$scalar)
  list(levels = lapply(fits, keep), tests = tests(fits),
       latent = scalar[scalar$lhs %in% c("A", "E") & scalar$rhs %in% c("", "A", "E") & scalar$op %in% c("~~", "~1") &
                       scalar$group == 2, c("lhs", "op", "rhs", "est", "se")])
}
out <- list(
  versions = list(R = R.version.string, lavaan = as.character(packageVersion("lavaan")),
                  semTools = as.character(packageVersion("semTools"))),
  hs_ml = continuous(hs_model, hs_full, "school", "ML"),
  hs_mlr = continuous(hs_model, hs_full, "school", "MLR"),
  bfi_mlr = continuous(model, b, "gender", "MLR"),
  bfi_wlsmv = ordinal(b),
  collapsed_wlsmv = ordinal(mixed))
write_json(out, "invariance.json", digits = 12, auto_unbox = TRUE, na = "null", dataframe = "rows")
